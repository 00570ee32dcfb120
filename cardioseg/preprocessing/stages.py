"""The way of an image from its raw grid to a normalised crop of the heart: one function for each step.

The workflow takes the steps in jobs of their own, a trained model takes them in one go.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from cardioseg.core.volumes import Volume
from cardioseg.preprocessing import bias_field, cropping, localisation, resampling
from cardioseg.preprocessing.localisation import Location


def to_common_pixels(raw: Volume, settings: Mapping[str, Any]) -> Volume:
    """Correct the intensities of a raw image for the coil's shading, where that is asked for, and resample it in-plane.

    Parameters
    ----------
    raw
        Image (z, y, x).
    settings
        The configuration's `resampling`: `spacing_mm` of the new square pixels, and `bias_field_correction`, None or
        the arguments of `bias_field.correct`.
    """
    correction = settings["bias_field_correction"]
    corrected = bias_field.correct(raw, **correction) if correction else raw
    return resampling.resample(corrected, settings["spacing_mm"])


def crop_heart(
    resampled: Volume,
    localiser: nn.Module,
    localisation_settings: Mapping[str, Any],
    cropping_settings: Mapping[str, Any],
    device: torch.device,
) -> tuple[Location, Volume]:
    """Find the heart in a resampled image (z, y, x) and cut it out, normalised to [-1, 1].

    The settings are the configuration's `localisation` and `cropping`. Raises InputError where the intensities cannot
    be normalised.
    """
    location = localisation.locate(resampled, localiser, localisation_settings, device)
    return location, cropping.crop_and_normalise(resampled, location.centre, cropping_settings)
