"""The trained ensemble as one object, for new images."""
