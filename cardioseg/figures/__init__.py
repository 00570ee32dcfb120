"""Figures of what the pipeline did, one module per figure; each function `figure` returns a figure to be saved."""
