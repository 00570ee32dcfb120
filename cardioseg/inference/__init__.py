"""From class probabilities to masks in the raw geometry (paper 2.3)."""
