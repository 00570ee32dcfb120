"""The surface of a mask by its definition."""

import numpy as np


def border_mm(mask, spacing):
    """Centres (n, 3) in mm of the voxels that have one of their six neighbours outside the mask."""
    padded = np.pad(mask, 1)
    neighbours = [np.roll(padded, step, axis) for axis in range(3) for step in (-1, 1)]
    return (np.argwhere(padded & ~np.all(neighbours, axis=0)) - 1) * spacing
