"""Cutting out the heart and normalising its surroundings' intensities (paper 3.2)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.preprocessing.resampling import sub_grid


def crop_and_normalise(volume: Volume, centre: tuple[float, float], settings: Mapping[str, Any]) -> Volume:
    """Crop a resampled volume about the heart's centre (y, x; index) and normalise it to [-1, 1].

    settings: `size` in pixels, `percentiles` of the crop's intensities that become -1 and 1. Where the field of view
    ends within the crop it is padded with -1, which the percentiles do not see.
    """
    inside = crop(Volume(np.ones(volume.array.shape, bool), volume.affine), centre, settings["size"], False)
    return normalise(crop(volume, centre, settings["size"], 0.0), inside.array, tuple(settings["percentiles"]))


def crop(volume: Volume, centre: tuple[float, float], size: int, fill: float) -> Volume:
    """Cut size x size pixels about centre (y, x; index), filled where the field of view is smaller (paper 3.2)."""
    start = [round(position) - size // 2 for position in centre]
    array = np.full((*volume.array.shape[:-2], size, size), fill, volume.array.dtype)
    source, target = [], []
    for first, length in zip(start, volume.array.shape[-2:], strict=True):
        low, high = max(first, 0), min(first + size, length)
        source.append(slice(low, max(high, low)))
        target.append(slice(low - first, max(high, low) - first))
    array[..., target[0], target[1]] = volume.array[..., source[0], source[1]]
    return Volume(array, sub_grid(volume.affine, (1, 1), (start[0], start[1])))


def normalise(volume: Volume, inside: np.ndarray, percentiles: tuple[float, float]) -> Volume:
    """Map intensities to [-1, 1]: the two percentiles over the mask `inside` to the ends, clipped; -1 outside.

    Raises InputError where the intensities between the percentiles are constant, or nothing is inside.
    """
    if not inside.any():
        raise InputError(
            "the crop lies outside of the image: nothing to normalise. Look at where the structures were found."
        )
    low, high = np.percentile(volume.array[inside], percentiles)
    if not high > low:
        raise InputError(
            f"intensities are constant between percentiles {percentiles}: nothing to normalise. "
            "Look at the image, or widen `percentiles`."
        )
    array = np.clip(2 * (volume.array - low) / (high - low) - 1, -1, 1).astype(np.float32)
    return Volume(np.where(inside, array, np.float32(-1)), volume.affine)
