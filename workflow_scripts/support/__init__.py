"""What the scripts share, and what the rules need for planning."""
