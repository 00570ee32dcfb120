"""A network's class probabilities of a stack of slices."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from cardioseg.core.volumes import Volume
from cardioseg.inference import views

REACH = 4  # standard deviations of a Gaussian to either side


def predict(network: nn.Module, image: Volume, settings: Mapping[str, Any], device: torch.device) -> np.ndarray:
    """Predict class probabilities of each slice, in several views, and smooth them across slices.

    Parameters
    ----------
    network : Module
        From slices (n, 1, y, x) to class scores (n, classes, y, x).
    image : Volume of shape (z, y, x)
        Slices in [-1, 1].
    settings : mapping
        `precision`, see `unet.predict`; `views`, see `views.predict`; `slice_smoothing_mm`, see `smooth_across_slices`.
    device : torch.device
        Where the network computes.

    Returns
    -------
    ndarray of float32, shape (classes, z, y, x)
        Probabilities that sum to 1 over the classes.
    """
    probabilities = views.predict(network, image.array, device, settings["views"], settings["precision"])
    return smooth_across_slices(probabilities, image.spacing[0], settings["slice_smoothing_mm"])


def smooth_across_slices(probabilities: np.ndarray, spacing_mm: float, deviation_mm: float) -> np.ndarray:
    """Average the probabilities of a slice with those of its neighbours, weighted by a Gaussian of their distance.

    A network that sees single slices errs in each by itself, but a heart changes little from one slice to the next.
    Beyond the stack its outer slices go on.

    Parameters
    ----------
    probabilities : ndarray of shape (classes, z, y, x)
        Probabilities that sum to 1 over the classes.
    spacing_mm : float
        Distance of the slices in mm.
    deviation_mm : float
        Standard deviation of the Gaussian in mm; 0 changes nothing.

    Returns
    -------
    ndarray of shape (classes, z, y, x)
        Probabilities that sum to 1 over the classes.
    """
    if deviation_mm == 0:
        return probabilities
    count, deviation = probabilities.shape[1], deviation_mm / spacing_mm
    reach = round(REACH * deviation)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-((offsets / deviation) ** 2) / 2)
    slices = np.arange(count)[:, None]
    # A matrix, because SciPy's filter would take longer to load than a patient's slices to smooth.
    matrix = np.zeros((count, count))
    np.add.at(matrix, (slices, (slices + offsets).clip(0, count - 1)), weights / weights.sum())
    return np.einsum("ij,cjyx->ciyx", matrix.astype(np.float32), probabilities, optimize=True)
