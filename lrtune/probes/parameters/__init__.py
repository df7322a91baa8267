"""What the gradients reach, and what the optimizer moves."""
