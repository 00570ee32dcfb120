"""Finding the heart by a coarse U-Net, whose masks are summed over the slices (paper 3.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from cardioseg.core import checkpoints
from cardioseg.core.volumes import Volume
from cardioseg.preprocessing import cropping, resampling
from cardioseg.segmentation.unet import UNet, predict

MINIMAL_AREA_MM2 = 400.0


@dataclass(frozen=True)
class Location:
    """Where the heart is in a volume.

    Attributes
    ----------
    centre : tuple of float
        Centre as an index (y, x).
    found : bool
        Whether the heart was found; otherwise the centre is that of the image.
    """

    centre: tuple[float, float]
    found: bool


def network(settings: Mapping[str, Any], classes: int) -> UNet:
    """Make a U-Net with instance norm, which makes it less sensitive to the modality's contrast (paper 3.2).

    Parameters
    ----------
    settings : mapping
        The section `localisation` of the configuration.
    classes : int
        The number of classes, with the background.

    Returns
    -------
    UNet
        The network, untrained.
    """
    return UNet(1, classes, settings["width"], settings["depth"], "instance", 0.0)


def load(settings: Mapping[str, Any], classes: int, path: Path | str) -> UNet:
    """Make the network and load its weights.

    Parameters
    ----------
    settings : mapping
        As in `network`.
    classes : int
        As in `network`.
    path : Path or str
        The file of the weights.

    Returns
    -------
    UNet
        The trained network.

    Raises
    ------
    InputError
        The weights are missing or damaged, or do not fit.
    """
    unet = network(settings, classes)
    checkpoints.load_weights(path, unet)
    return unet


def prepare(volume: Volume, settings: Mapping[str, Any], multiple: int) -> Volume:
    """Resample to coarse pixels, normalise over the field of view, and pad.

    Parameters
    ----------
    volume : Volume of shape (z, y, x)
        The resampled image.
    settings : mapping
        The section `localisation` of the configuration.
    multiple : int
        The network's stride, which must divide the sides.

    Returns
    -------
    Volume of float32, shape (z, side, side)
        The coarse image in [-1, 1].

    Raises
    ------
    InputError
        The intensities cannot be normalised.
    """
    coarse = resampling.resample(volume, settings["spacing_mm"])
    everywhere = np.ones(coarse.array.shape, bool)
    return _pad(cropping.normalise(coarse, everywhere, tuple(settings["percentiles"])), multiple)


def training_slices(
    images: list[Volume], labels: list[Volume], settings: Mapping[str, Any], classes: int, multiple: int
) -> tuple[np.ndarray, np.ndarray]:
    """Collect all slices of images and labels on the coarse grid, padded to the largest of them.

    Parameters
    ----------
    images, labels : list of Volume, shape (z, y, x)
        The resampled images and their labels.
    settings : mapping
        The section `localisation` of the configuration.
    classes : int
        The number of classes, with the background.
    multiple : int
        The network's stride.

    Returns
    -------
    images : ndarray of float32, shape (n, y, x)
        All slices, in [-1, 1].
    labels : ndarray of uint8, shape (n, y, x)
        Their labels.

    Raises
    ------
    InputError
        As in `prepare`.
    """
    coarse = [prepare(image, settings, multiple) for image in images]
    truth = [
        Volume(resampling.labels_on_grid(label, image, classes), image.affine)
        for label, image in zip(labels, coarse, strict=True)
    ]
    size = max(image.array.shape[-1] for image in coarse)
    return (
        np.concatenate([cropping.crop(image, _middle(image), size, -1.0).array for image in coarse]),
        np.concatenate([cropping.crop(label, _middle(label), size, 0).array for label in truth]),
    )


def locate(volume: Volume, localiser: nn.Module, settings: Mapping[str, Any], device: torch.device) -> Location:
    """Find the heart's centre: the centroid of the network's masks, summed over all slices.

    If the summed mask has several pieces, the one with the largest sum counts. If the network finds less than 4 cm2
    over all slices, the centre is that of the image.

    Parameters
    ----------
    volume : Volume of shape (z, y, x)
        The resampled image.
    localiser : Module
        Network from slices (n, 1, y, x) to class scores. Its `stride` divides the sides of the slices.
    settings : mapping
        The section `localisation` of the configuration.
    device : torch.device
        Where the network computes.

    Returns
    -------
    Location
        The centre as an index of the volume.

    Raises
    ------
    InputError
        As in `prepare`.
    """
    coarse = prepare(volume, settings, int(localiser.stride))  # type: ignore[arg-type]
    probabilities = predict(localiser, coarse.array, device)
    mask = (probabilities.argmax(axis=0) > 0).sum(axis=0)
    if mask.sum() * settings["spacing_mm"] ** 2 < MINIMAL_AREA_MM2:
        return Location(_middle(volume), found=False)
    pieces, count = ndimage.label(mask > 0)
    heaviest = 1 + int(np.argmax(ndimage.sum_labels(mask, pieces, range(1, count + 1))))
    y, x = ndimage.center_of_mass(mask * (pieces == heaviest))
    mapping = np.linalg.inv(volume.affine) @ coarse.affine
    return Location((float(mapping[1, 1] * y + mapping[1, 3]), float(mapping[0, 0] * x + mapping[0, 3])), found=True)


def likeness(volume: Volume, localiser: nn.Module, settings: Mapping[str, Any], device: torch.device) -> float:
    """Measure how much a volume looks like those that the network learned from.

    The measure is the mean Dice, over the structures, between the network's probabilities and the voxels where they are
    largest.

    Parameters
    ----------
    volume : Volume of shape (z, y, x)
        The resampled image.
    localiser : Module
        As for `locate`.
    settings : mapping
        As for `locate`.
    device : torch.device
        Where the network computes.

    Returns
    -------
    float
        From 0, if the network finds nothing, to 1, if it is sure of everything that it finds.

    Raises
    ------
    InputError
        As in `prepare`.
    """
    coarse = prepare(volume, settings, int(localiser.stride))  # type: ignore[arg-type]
    probabilities = predict(localiser, coarse.array, device)
    most = probabilities.argmax(axis=0)
    scores = []
    for label, probability in enumerate(probabilities[1:], start=1):
        mask = most == label
        scores.append(2 * probability[mask].sum() / (probability.sum() + mask.sum()) if mask.any() else 0.0)
    return float(np.mean(scores))


def crop_heart(
    resampled: Volume,
    localiser: nn.Module,
    localisation_settings: Mapping[str, Any],
    cropping_settings: Mapping[str, Any],
    device: torch.device,
) -> tuple[Location, Volume]:
    """Find the heart in a resampled image, and crop and normalise the image around it.

    Parameters
    ----------
    resampled : Volume of shape (z, y, x)
        The resampled image.
    localiser : Module
        As in `locate`.
    localisation_settings, cropping_settings : mapping
        The sections `localisation` and `cropping` of the configuration.
    device : torch.device
        Where the network computes.

    Returns
    -------
    location : Location
        Where the heart is.
    crop : Volume of float32, shape (z, size, size)
        The crop in [-1, 1].

    Raises
    ------
    InputError
        The intensities cannot be normalised.
    """
    location = locate(resampled, localiser, localisation_settings, device)
    return location, cropping.crop_and_normalise(resampled, location.centre, cropping_settings)


def _middle(volume: Volume) -> tuple[float, float]:
    return volume.array.shape[-2] / 2, volume.array.shape[-1] / 2


def _pad(volume: Volume, multiple: int) -> Volume:
    """Pad an image to a square whose side is a multiple, and two at least: of one pixel the network's norms fail."""
    size = max(2, -(-max(volume.array.shape[-2:]) // multiple)) * multiple
    return cropping.crop(volume, _middle(volume), size, -1.0)
