"""How well masks agree with the manual ones, as metrics and tables."""
