"""Which pixels lie in a polygon, by its definition."""

import numpy as np


def inside(corners: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixels (y, x) from whose centre a ray along x crosses a polygon of corners (x, y) an odd number of times."""
    y, x = np.indices(shape)
    odd = np.zeros(shape, bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y1 == y2:
            continue
        crossed = (y >= min(y1, y2)) & (y < max(y1, y2)) & (x1 + (y - y1) / (y2 - y1) * (x2 - x1) > x)
        odd ^= crossed
    return odd
