"""Data as batches: deterministic order, read once where that is possible, on the device where they are used."""
