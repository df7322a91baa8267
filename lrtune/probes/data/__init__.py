"""What the data are: inputs, targets, their order, and what one tells of the other."""
