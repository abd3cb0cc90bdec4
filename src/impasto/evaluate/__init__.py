"""How good images are, evaluated by a network that no loss has seen."""
