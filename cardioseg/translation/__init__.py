"""Unpaired translation of source images into the target's appearance (paper 2.1)."""
