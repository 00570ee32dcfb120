"""Pictures of what the pipeline did, one module a figure; each function `figure` returns one to be saved."""
