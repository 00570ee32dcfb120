"""Scar and the 17 segments of the left ventricle, read off an image and its mask."""
