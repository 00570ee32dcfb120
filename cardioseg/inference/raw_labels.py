"""From probabilities on the crop's grid to labels on the raw image's."""

from collections.abc import Sequence

import numpy as np

from cardioseg.core.volumes import Volume
from cardioseg.preprocessing import resampling


def mean_probabilities(members: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of the members' class probabilities (paper 3.3), each (classes, z, y, x)."""
    return np.stack(members).mean(axis=0, dtype=np.float32)


def on_raw_grid(probabilities: Volume, raw: Volume) -> np.ndarray:
    """Most probable class (z, y, x; uint8) on the raw image's grid of probabilities (classes, z, y, x) on the crop's.

    Probabilities, not labels, are resampled; outside the crop is background.
    """
    return resampling.most_probable(probabilities, raw.array.shape, raw.affine)
