"""What a few steps of training can be held to: a small sample's floor and ceiling, a sweep's curve."""
