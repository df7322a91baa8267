"""What a person reads at the end: one HTML page or one Markdown text of a run's results."""
