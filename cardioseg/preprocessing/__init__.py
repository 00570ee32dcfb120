"""From raw volumes to normalised crops of the heart (paper 3.2)."""
