"""An oblique grid, as scanners give them."""

import numpy as np

SPACING = (8.0, 1.25, 1.1)  # z, y, x in mm


def affine(spacing=SPACING, angles=(0.3, -0.2, 0.5), origin=(-31.5, 12.25, 80.0)):
    """Index (x, y, z) to mm, oblique."""
    a, b, c = angles
    turns = [
        np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]),
        np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]),
        np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]),
    ]
    matrix = np.eye(4)
    matrix[:3, :3] = turns[0] @ turns[1] @ turns[2] @ np.diag(spacing[::-1])
    matrix[:3, 3] = origin
    return matrix
