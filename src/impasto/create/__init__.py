"""From a trained model to files: images, sheets, clips, recipes, styles and vectors."""
