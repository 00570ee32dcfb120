"""A patient's other examination as a second witness: its labels, registered, beside the networks' probabilities."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from cardioseg.core.volumes import Volume
from cardioseg.preprocessing import resampling


def fuse(probabilities: Volume, witness: Volume, settings: Mapping[str, Any]) -> np.ndarray:
    """Average a network's probabilities with registered labels, which are blurred since registration is not exact.

    Parameters
    ----------
    probabilities
        (classes, z, y, x), sum to one over the classes.
    witness
        Labels (z, y, x) of the same slices, on a grid that need not be the same in-plane. Slices without a structure
        bear no witness: there the other examination may have none.
    settings
        `weight` of the witness in [0, 1], and `blur_mm`, the standard deviation in-plane.

    Returns
    -------
    numpy.ndarray
        (classes, z, y, x; float32) on the probabilities' grid; sums to one over the classes.

    Raises
    ------
    InputError
        The two grids do not share slices and in-plane axes.
    """
    classes, *shape = probabilities.array.shape
    maps = Volume(resampling.one_hot(witness.array, classes)[1:], witness.affine)
    structures = resampling.on_grid(maps, (shape[0], shape[1], shape[2]), probabilities.affine)
    blur = [settings["blur_mm"] / size for size in probabilities.spacing[-2:]]
    structures = ndimage.gaussian_filter(structures, (0, 0, *blur))
    seen = np.concatenate([1 - structures.sum(axis=0, keepdims=True), structures])
    weight = settings["weight"] * np.any(witness.array > 0, axis=(1, 2)).reshape(1, -1, 1, 1)
    fused: np.ndarray = ((1 - weight) * probabilities.array + weight * seen).astype(np.float32)
    return fused
