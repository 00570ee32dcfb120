"""Cropping the heart and normalising the crop's intensities (paper 3.2)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.preprocessing.resampling import sub_grid


def crop_and_normalise(volume: Volume, centre: tuple[float, float], settings: Mapping[str, Any]) -> Volume:
    """Crop a resampled volume around the heart and normalise it to [-1, 1].

    Parameters
    ----------
    volume : Volume of shape (z, y, x)
        The resampled image.
    centre : tuple of float
        Centre of the heart as an index (y, x).
    settings : mapping
        `size` in pixels, and `percentiles` of the crop's intensities that become -1 and 1.

    Returns
    -------
    Volume of float32, shape (z, size, size)
        The crop. Outside of the field of view it is -1; the percentiles do not include these pixels.

    Raises
    ------
    InputError
        The intensities cannot be normalised.
    """
    inside = crop(Volume(np.ones(volume.array.shape, bool), volume.affine), centre, settings["size"], False)
    return normalise(crop(volume, centre, settings["size"], 0.0), inside.array, tuple(settings["percentiles"]))


def crop(volume: Volume, centre: tuple[float, float], size: int, fill: float) -> Volume:
    """Cut a square around a centre out of every slice.

    Parameters
    ----------
    volume : Volume of shape (..., y, x)
        The volume.
    centre : tuple of float
        Centre as an index (y, x).
    size : int
        Width and height in pixels.
    fill : float
        Value outside of the field of view.

    Returns
    -------
    Volume of shape (..., size, size)
        The crop, in its place in scanner coordinates.
    """
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
    """Map intensities linearly so that two percentiles become -1 and 1, and clip the rest.

    Parameters
    ----------
    volume : Volume of shape (z, y, x)
        The image.
    inside : ndarray of bool, shape (z, y, x)
        The field of view. Percentiles are taken in it; outside the result is -1.
    percentiles : tuple of float
        Percentiles that become -1 and 1.

    Returns
    -------
    Volume of float32, shape (z, y, x)
        The image in [-1, 1].

    Raises
    ------
    InputError
        Both percentiles are the same intensity, or nothing is inside.
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


def left_out(labels: Volume, crop: Volume) -> float:
    """Measure how much of an image's labels its crop leaves out.

    Parameters
    ----------
    labels : Volume of shape (z, y, x)
        The labels, 0 in the background.
    crop : Volume of shape (z, size, size)
        The crop.

    Returns
    -------
    float
        The share of the labelled voxels whose centres lie beside the crop in-plane; 0 without labels.
    """
    voxels = np.argwhere(labels.array > 0)[:, ::-1]
    if not len(voxels):
        return 0.0
    to_crop = np.linalg.inv(crop.affine) @ labels.affine
    place = (voxels @ to_crop[:3, :3].T + to_crop[:3, 3])[:, :2]
    size = np.array(crop.array.shape[:0:-1])
    return float(np.mean(np.any((place < -0.5) | (place > size - 0.5), axis=1)))
