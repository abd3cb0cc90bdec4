"""How good images are, judged by a network that no loss has seen."""
