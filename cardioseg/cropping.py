"""Cutting out the heart and normalising its surroundings' intensities (paper 3.2)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cardioseg import resampling
from cardioseg.volumes import Volume


def crop(volume: Volume, centre: tuple[float, float], settings: Mapping[str, Any]) -> Volume:
    """Crop a resampled volume about the heart's centre (y, x; index) and normalise it to [-1, 1].

    settings: `size` in pixels, `percentiles` of the crop's intensities that become -1 and 1. Where the field of view
    ends within the crop it is padded with -1, which the percentiles do not see.
    """
    inside = resampling.crop(Volume(np.ones(volume.array.shape, bool), volume.affine), centre, settings["size"], False)
    return resampling.normalise(
        resampling.crop(volume, centre, settings["size"], 0.0), inside.array, tuple(settings["percentiles"])
    )
