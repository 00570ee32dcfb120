"""Digital phantoms, in the place of data."""
