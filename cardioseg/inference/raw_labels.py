"""From probabilities on the grid of the crop to labels on the grid of the raw image."""

from collections.abc import Sequence

import numpy as np

from cardioseg.core.volumes import Volume
from cardioseg.preprocessing import resampling


def mean_probabilities(members: Sequence[np.ndarray]) -> np.ndarray:
    """Average the members' class probabilities (paper 3.3), each (classes, z, y, x).

    Parameters
    ----------
    members : sequence of ndarray, each of shape (classes, z, y, x)
        Class probabilities.

    Returns
    -------
    ndarray of float32, shape (classes, z, y, x)
        Their mean.
    """
    return np.stack(members).mean(axis=0, dtype=np.float32)


def on_raw_grid(probabilities: Volume, raw: Volume) -> np.ndarray:
    """Resample probabilities to the raw grid and take the most probable class.

    Parameters
    ----------
    probabilities : Volume of shape (classes, z, y, x)
        Probabilities on the grid of the crop.
    raw : Volume of shape (z, y, x)
        The raw image.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        Labels; background outside of the crop.

    Raises
    ------
    InputError
        The grids do not share their slices.
    """
    return resampling.most_probable(probabilities, raw.array.shape, raw.affine)
