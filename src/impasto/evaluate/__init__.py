"""Evaluation of a model, on features of a network that no loss uses."""
