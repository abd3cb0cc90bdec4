"""The model, in the order of the paper's figure: views -> encoders -> fuser -> prior -> decoder."""
