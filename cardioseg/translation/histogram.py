"""Histogram matching, the baseline of the translation: a source volume gets the intensities of some target volume.

Nothing is learnt but what intensities the target's volumes have. A darker pixel stays a darker one, so that contrasts
which only one of the modalities has, such as scars, are not made.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cardioseg.core import checkpoints, training_loop
from cardioseg.core.randomness import derive

# Points on each distribution of intensities.
LEVELS = 1001
# What lies outside of the field of view is as dark as the darkest tissue of a crop, see `cropping.normalise`.
DARKEST = -1.0


class Histograms(nn.Module):
    """The intensities of target volumes, as a network without weights.

    Parameters
    ----------
    quantiles : ndarray of float32, shape (volumes, LEVELS)
        Quantiles of each volume's intensities, from the least to the greatest, see `intensity_quantiles`.
    """

    quantiles: torch.Tensor

    def __init__(self, quantiles: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("quantiles", torch.from_numpy(quantiles))


def train(
    source: Sequence[np.ndarray],
    target: Sequence[np.ndarray],
    settings: Mapping[str, Any],
    run: training_loop.Run,
) -> tuple[Histograms, list[dict[str, float]]]:
    """Measure the intensities of all target volumes.

    Parameters
    ----------
    source : sequence of ndarray
        Not needed, see `translators.Translator`.
    target : sequence of ndarray, shape (z, y, x)
        The target's volumes, float32 in [-1, 1].
    settings : mapping
        Not needed.
    run : Run
        Not needed.

    Returns
    -------
    network : Histograms
        The intensities of the target volumes.
    history : list
        Empty, because nothing is learnt step by step.
    """
    return Histograms(np.stack([intensity_quantiles(volume) for volume in target])), []


def load(settings: Mapping[str, Any], path: Path | str) -> Histograms:
    """Read the intensities of target volumes from a file.

    Parameters
    ----------
    settings : mapping
        Not needed, see `translators.Translator`.
    path : Path or str
        The file.

    Returns
    -------
    Histograms
        The intensities.

    Raises
    ------
    InputError
        The file is damaged or another translator's.
    """
    stored = checkpoints.load(path).get("weights", {}).get("quantiles", np.empty((0, LEVELS)))
    network = Histograms(np.zeros((len(stored), LEVELS), np.float32))
    checkpoints.load_weights(path, network)
    return network


def sample_styles(network: Histograms, seed: int, patient: str, samples: int) -> np.ndarray:
    """Draw target volumes for the synthetic images of a source volume, none a second time before all are drawn.

    Parameters
    ----------
    network : Histograms
        The intensities of all target volumes.
    seed : int
        The seed of the synthetic set.
    patient : str
        Whose source volume it is.
    samples : int
        Number of synthetic images.

    Returns
    -------
    ndarray of float32, shape (samples, LEVELS)
        The quantiles of one target volume for each sample.
    """
    volumes = len(network.quantiles)
    order = np.random.default_rng(derive(seed, "synthesis", patient)).permutation(volumes)
    return network.quantiles.numpy()[order[np.arange(samples) % volumes]]


def synthesise(network: Histograms, images: np.ndarray, styles: np.ndarray, device: torch.device) -> np.ndarray:
    """Give a source volume the intensities of each style, see `match`.

    Parameters
    ----------
    network : Histograms
        Not needed, see `translators.Translator`.
    images : ndarray of float32, shape (z, y, x)
        The source volume in [-1, 1].
    styles : ndarray of float32, shape (n, LEVELS)
        Quantiles, as from `sample_styles`.
    device : torch.device
        Not needed.

    Returns
    -------
    ndarray of float32, shape (n, z, y, x)
        The synthetic volumes in [-1, 1].
    """
    return np.stack([match(images, style) for style in styles])


def intensity_quantiles(volume: np.ndarray) -> np.ndarray:
    """Return the quantiles of a volume's intensities above `DARKEST`.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x)
        Intensities in [-1, 1].

    Returns
    -------
    ndarray of float32, shape (LEVELS,)
        Quantiles at even steps, from the least to the greatest.
    """
    return np.quantile(volume[volume > DARKEST], np.linspace(0, 1, LEVELS)).astype(np.float32)


def match(volume: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Replace each intensity of a volume by that of the same rank in a distribution.

    Only pixels above `DARKEST` have a rank: how much padding and black air a crop has tells of the field of view, not
    of the modality. The others stay as they are. Equal intensities stay equal: they take the middle of their ranks.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x)
        Intensities in [-1, 1].
    quantiles : ndarray of shape (LEVELS,)
        The distribution, see `intensity_quantiles`.

    Returns
    -------
    ndarray of float32, shape (z, y, x)
        The matched volume.

    References
    ----------
    R. C. Gonzalez, R. E. Woods: Digital Image Processing, Pearson 2018, section 3.3, histogram specification.
    """
    ranked = volume > DARKEST
    _, inverse, counts = np.unique(volume[ranked], return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - (counts + 1) / 2
    ranks = middles / max(1, len(inverse) - 1)
    matched = np.full(volume.shape, DARKEST, np.float32)
    matched[ranked] = np.interp(ranks, np.linspace(0, 1, LEVELS), quantiles)[inverse]
    return matched
