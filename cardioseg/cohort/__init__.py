"""Which patients there are, and reading their images."""
