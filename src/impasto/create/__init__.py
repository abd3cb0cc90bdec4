"""What a model's numbers become: images, sheets, recipes and vectors in files."""
