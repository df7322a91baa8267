"""Which loss it is, what it should be at initialisation and at its lowest, and what it is given."""
