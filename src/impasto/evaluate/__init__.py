"""How good pictures are, judged by a network that no loss has seen."""
