"""The trained model: its file and card, and its use on new images."""
