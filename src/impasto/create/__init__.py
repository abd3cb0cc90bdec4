"""What a model's numbers become: pictures, sheets, recipes and vectors in files."""
