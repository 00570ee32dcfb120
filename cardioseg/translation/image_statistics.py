"""Statistics of images by which a translation is measured: edges, what networks see, intensities and texture."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.evaluation import metrics
from cardioseg.segmentation import unet

BINS = 1000
BAND_SCALES = (0, 1, 2, 4, 8)
PERCENTILES = (10, 50, 90)
# Keeps the logarithm finite in a constant image; less than one grey level of 8 bits.
WEAKEST = 1e-3
EDGE_SCALE = 1.0
SURROUNDINGS_MM = 10.0
# A smoothed edge reaches this many pixels beyond those on either side of the boundary.
EDGE_REACH = 2
NEIGHBOURS_IN_PLANE = ndimage.generate_binary_structure(2, 1)[None]


@dataclass(frozen=True)
class Described:
    """What the measures need of one volume. Without labels only `features` carries information.

    Attributes
    ----------
    edge_ratios, dice : ndarray of shape (structures,)
        See `edge_ratios` and `consistency`.
    histograms : ndarray of shape (structures, BINS)
        Fractions of intensities in each structure; all 0 where there is no such structure.
    features : ndarray of shape (z, features)
        See `features`.
    middle : ndarray of shape (y, x)
        The slice with most of the heart.
    heart : ndarray of bool, shape (y, x)
        The heart in that slice.
    """

    edge_ratios: np.ndarray
    dice: np.ndarray
    histograms: np.ndarray
    features: np.ndarray
    middle: np.ndarray
    heart: np.ndarray


def describe(
    images: Sequence[Volume], labels: np.ndarray, structures: int, networks: Sequence[nn.Module], device: torch.device
) -> list[Described]:
    """Describe images of one anatomy.

    Parameters
    ----------
    images : sequence of Volume, shape (z, y, x)
        Crops with intensities in [-1, 1].
    labels : ndarray of int, shape (z, y, x)
        The labels of all the images; all 0 where unknown.
    structures : int
        The number of structures.
    networks : sequence of Module
        Networks that segment the images, for `consistency`.
    device : torch.device
        Where the networks compute.

    Returns
    -------
    list of Described
        One description per image.

    Raises
    ------
    InputError
        Shapes differ, or intensities lie outside of [-1, 1].
    """
    masks = [labels == index for index in range(1, 1 + structures)]
    middle = int(np.argmax((labels > 0).sum(axis=(1, 2))))
    described = []
    for image in images:
        array = image.array
        if array.shape != labels.shape:
            raise InputError(
                f"The image's shape {array.shape} differs from its labels' {labels.shape}; crop both alike."
            )
        if array.min() < -1 or array.max() > 1:
            raise InputError(
                f"Intensities from {array.min():g} to {array.max():g}; expected those of a crop, from -1 to 1."
            )
        described.append(
            Described(
                edge_ratios(image, masks),
                consistency(array, labels, structures, networks, device),
                np.stack([histogram(array[mask]) for mask in masks]),
                features(array),
                array[middle],
                labels[middle] > 0,
            )
        )
    return described


def edge_ratios(image: Volume, masks: Sequence[np.ndarray]) -> np.ndarray:
    """Compare the gradient on each structure's boundary with that elsewhere in and near the heart.

    Gradients are in-plane Gaussian derivatives of one pixel. A boundary is the pixels on either side of it. Elsewhere
    means up to 10 mm around the heart, and more than two pixels from every boundary.

    Parameters
    ----------
    image : Volume of shape (z, y, x)
        The image.
    masks : sequence of ndarray of bool, shape (z, y, x)
        One mask per structure.

    Returns
    -------
    ndarray of shape (structures,)
        Ratio of the mean gradient magnitudes. 1 means that the image's edges do not follow the labels. NaN for a
        structure that is not there.
    """
    first, second = (
        ndimage.gaussian_filter(image.array, (0, EDGE_SCALE, EDGE_SCALE), order, mode="nearest")
        for order in ((0, 1, 0), (0, 0, 1))
    )
    gradient = np.hypot(first, second)
    boundaries = [_dilated(mask) & ~_eroded(mask) for mask in masks]
    heart = np.any(masks, axis=0)
    if not heart.any():
        return np.full(len(masks), np.nan)
    surroundings = _dilated(heart, max(1, round(SURROUNDINGS_MM / image.spacing[-1])))
    elsewhere = gradient[surroundings & ~_dilated(np.any(boundaries, axis=0), EDGE_REACH)]
    reference = elsewhere.mean(dtype=np.float64) if elsewhere.size else 0.0
    return np.array(
        [
            gradient[boundary].mean(dtype=np.float64) / reference if boundary.any() and reference else np.nan
            for boundary in boundaries
        ]
    )


def consistency(
    image: np.ndarray, labels: np.ndarray, structures: int, networks: Sequence[nn.Module], device: torch.device
) -> np.ndarray:
    """Measure the Dice between labels and what networks see in the image, as a mean over the networks.

    Parameters
    ----------
    image : ndarray of shape (z, y, x)
        The image.
    labels : ndarray of int, shape (z, y, x)
        Its labels.
    structures : int
        The number of structures.
    networks : sequence of Module
        The networks.
    device : torch.device
        Where they compute.

    Returns
    -------
    ndarray of shape (structures,)
        The Dice; NaN where nothing is labelled.
    """
    if not labels.any() or not networks:
        return np.full(structures, np.nan)
    predicted = [unet.predict(network, image, device).argmax(axis=0) for network in networks]
    return np.array(
        [
            np.mean([metrics.dice(prediction == index, labels == index) for prediction in predicted])
            for index in range(1, 1 + structures)
        ]
    )


def histogram(intensities: np.ndarray) -> np.ndarray:
    """Return the fractions of intensities in `BINS` equal bins of [-1, 1]; all 0 if there are no intensities.

    Parameters
    ----------
    intensities : ndarray of shape (...)
        Intensities in [-1, 1].

    Returns
    -------
    ndarray of shape (BINS,)
        The fractions.
    """
    counts, _ = np.histogram(intensities, BINS, (-1, 1))
    return counts / max(1, counts.sum())


def wasserstein(first: np.ndarray, second: np.ndarray) -> float:
    """Compute the 1-D Wasserstein (earth mover's) distance between two histograms.

    It is the area between the cumulative distributions.

    Parameters
    ----------
    first, second : ndarray of shape (BINS,)
        Histograms over [-1, 1].

    Returns
    -------
    float
        In units of intensity, exact to 2 / BINS; NaN if one histogram is empty.
    """
    if not (first.any() and second.any()):
        return float("nan")
    difference = first / first.sum() - second / second.sum()
    return float(np.abs(np.cumsum(difference)).sum() * 2 / BINS)


def features(slices: np.ndarray) -> np.ndarray:
    """Describe the appearance of slices by marginal statistics of brightness, contrast and texture.

    The features are the percentiles 10, 50 and 90 of the intensities, and two numbers for each of four octaves
    (differences of Gaussians of 0, 1, 2, 4 and 8 pixels). The first is the logarithm of the standard deviation. The
    second is the sparseness: the logarithm of mean magnitude over standard deviation, which is -0.23 for Gaussian noise
    and less for few sharp edges. Heeger and Bergen describe texture by statistics of this kind. The features do not see
    where something is, so different textures may have the same features.

    Parameters
    ----------
    slices : ndarray of shape (n, y, x)
        Slices with intensities in [-1, 1].

    Returns
    -------
    ndarray of shape (n, features)
        The features.

    References
    ----------
    D. J. Heeger, J. R. Bergen: Pyramid-based texture analysis/synthesis, SIGGRAPH 1995.
    """
    columns = list(np.percentile(slices, PERCENTILES, axis=(1, 2)))
    blurred = [ndimage.gaussian_filter(slices, (0, scale, scale), mode="nearest") for scale in BAND_SCALES]
    for fine, coarse in pairwise(blurred):
        band = (fine - coarse).astype(np.float64)
        spread, magnitude = band.std(axis=(1, 2)) + WEAKEST, np.abs(band).mean(axis=(1, 2)) + WEAKEST
        columns += [np.log(spread), np.log(magnitude / spread)]
    return np.stack(columns, axis=1)


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Compute the squared Frechet distance between Gaussians fitted to two sets of features, as in the FID.

    It is |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). It is too large if there are few samples.

    Parameters
    ----------
    first, second : ndarray of shape (n, features)
        The sets.

    Returns
    -------
    float
        The squared distance; NaN for fewer than two samples.

    References
    ----------
    D. C. Dowson, B. V. Landau: The Frechet distance between multivariate normal distributions, J Multivar Anal 1982.
    M. Heusel et al.: GANs trained by a two time-scale update rule converge to a local Nash equilibrium, NeurIPS 2017.
    """
    if min(len(first), len(second)) < 2:
        return float("nan")
    covariances = [np.atleast_2d(np.cov(sample, rowvar=False)) for sample in (first, second)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ covariances[1] @ root).clip(0)).sum()
    means = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    return max(0.0, float(means + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * shared))


def _dilated(mask: np.ndarray, pixels: int = 1) -> np.ndarray:
    return ndimage.binary_dilation(mask, NEIGHBOURS_IN_PLANE, pixels)


def _eroded(mask: np.ndarray) -> np.ndarray:
    return ndimage.binary_erosion(mask, NEIGHBOURS_IN_PLANE, border_value=1)
