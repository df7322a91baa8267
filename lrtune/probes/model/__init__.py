"""What the untrained model does: its activations, its modes, and how it treats examples."""
