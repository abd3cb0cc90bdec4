"""Training: both stages under one budget, resumable at any moment."""
