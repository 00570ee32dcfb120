"""How good the translation is: content preserved, diversity over styles, and realism, each beside a reference.

Every measure is taken of three kinds of image: source (no translation), synthetic and real target. All images are crops
around the heart with intensities in [-1, 1].
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from torch import nn

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.evaluation import measures, metrics
from cardioseg.segmentation import unet

log = logging.getLogger(__name__)

COLUMNS = ["measure", "images", "seed", "structure", "value", "n"]
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
# Values (columns,), and the number of items that each is the mean of.
Estimate = tuple[np.ndarray, np.ndarray]


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


@dataclass(frozen=True)
class Images:
    """Images of one kind, in groups; diversity is measured within the groups."""

    name: str
    seed: str
    groups: Sequence[Sequence[Described]]
    is_target: bool = False

    @property
    def volumes(self) -> list[Described]:
        """All volumes."""
        return [volume for group in self.groups for volume in group]

    @property
    def pairs(self) -> list[tuple[Described, Described]]:
        """All pairs within the groups."""
        return [pair for group in self.groups for pair in combinations(group, 2)]

    def comparisons(self, target: Sequence[Described]) -> Sequence[tuple[Sequence[Described], Sequence[Described]]]:
        """Return the pairs of sets to compare: these images and the target, or the halves of the target itself.

        Parameters
        ----------
        target : sequence of Described
            The target volumes.

        Returns
        -------
        sequence of (sequence of Described, sequence of Described)
            The pairs.
        """
        return halves(target) if self.is_target else [(self.volumes, target)]


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


@dataclass(frozen=True)
class UNets:
    """Segmentation networks that see the images.

    Attributes
    ----------
    pretrained, finetuned : sequence of nn.Module
        By seed, those trained on source and on synthetic images.
    device : torch.device
        Where they compute.
    """

    pretrained: Sequence[nn.Module]
    finetuned: Sequence[nn.Module]
    device: torch.device


def measure(
    source: Iterable[tuple[Volume, np.ndarray]],
    target: Iterable[tuple[Volume, np.ndarray | None]],
    synthetic: Mapping[int, Iterable[tuple[Sequence[Volume], np.ndarray]]],
    unets: UNets,
    names: tuple[str, str],
    structures: Sequence[str],
    unlabelled: Collection[str] = (),
) -> pd.DataFrame:
    """Describe all images, and `assess` them.

    Pre-trained U-Nets see the source. Fine-tuned ones see the target and, if there are several seeds, the synthetic
    images of the seed before theirs, on which they were not trained.

    Parameters
    ----------
    source : iterable of tuple
        For each patient the volume (z, y, x) in [-1, 1] and its labels.
    target : iterable of tuple
        The same; labels are None where there are none.
    synthetic : mapping of int to iterable of tuple
        By seed: for each patient its samples, and the labels that they share.
    unets : UNets
        The U-Nets, in the order of the seeds in `synthetic`.
    names : tuple of str
        Names of source and target.
    structures : sequence of str
        Names of the structures, in the order of the labels.
    unlabelled : collection of str, optional
        Structures that the target's labels do not have, so that a U-Net's Dice says nothing of them.

    Returns
    -------
    DataFrame
        See `assess`.
    """

    def seen(images: Sequence[Volume], labels: np.ndarray | None, networks: Sequence[nn.Module]) -> list[Described]:
        known = np.zeros(images[0].array.shape, np.uint8) if labels is None else labels
        return describe(images, known, len(structures), networks, unets.device)

    if len(synthetic) == 1:
        log.warning("there is one seed: unet_dice of its synthetic images is of the network that was trained on them")
    others = [*unets.finetuned[1:], *unets.finetuned[:1]]
    return assess(
        [seen([image], labels, unets.pretrained)[0] for image, labels in source],
        [
            replace(volume, dice=np.where(np.isin(structures, list(unlabelled)), np.nan, volume.dice))
            for image, labels in target
            for volume in seen([image], labels, unets.finetuned)
        ],
        {
            seed: [seen(samples, labels, [other]) for samples, labels in groups]
            for (seed, groups), other in zip(synthetic.items(), others, strict=True)
        },
        names,
        structures,
    )


def halves(volumes: Sequence[Described]) -> list[tuple[list[Described], list[Described]]]:
    """Return ways to cut a set in two.

    The volumes stand in a circle. Each way takes half of it from another place on, and the rest.

    Parameters
    ----------
    volumes : sequence of Described
        The set.

    Returns
    -------
    list of (list of Described, list of Described)
        The ways.
    """
    count = len(volumes)
    half = count // 2
    circle = [*volumes, *volumes]
    cuts = range(0 if count < 2 else count if count % 2 else half)
    return [(circle[start : start + half], circle[start + half : start + count]) for start in cuts]


def assess(
    source: Sequence[Described],
    target: Sequence[Described],
    synthetic: Mapping[int, Sequence[Sequence[Described]]],
    names: tuple[str, str],
    structures: Sequence[str],
) -> pd.DataFrame:
    """Compute all measures.

    - `boundary_edge_ratio`: see `edge_ratios`; mean over volumes.
    - `unet_dice`: see `consistency`; mean over volumes.
    - `diversity_l1`: mean absolute difference of two volumes where both have the heart, in the slice with most of it.
    - `diversity_intensities`: Wasserstein distance between the intensities of two volumes.
    - `diversity_features`: root mean square difference between the mean features of two volumes.
    - `distance_intensities`: Wasserstein distance to the target's intensities; each volume counts the same.
    - `distance_features`: Frechet distance to the features of the target's slices.

    Diversity is a mean over pairs: of samples of one image if the images are synthetic, otherwise of patients. The
    target's own distance is the mean over its `halves`. Features are in standard deviations over all real slices.

    Parameters
    ----------
    source, target : sequence of Described
        One volume per patient.
    synthetic : mapping of int to sequence of sequence of Described
        By seed, the samples of each patient.
    names : tuple of str
        Names of source and target.
    structures : sequence of str
        Names of the structures.

    Returns
    -------
    DataFrame
        The columns `COLUMNS`: one row per measure, kind of image, seed and structure (AVG: their mean). n counts
        volumes, pairs or, for `distance_features`, slices. Rows without a seed are the references, and the mean over
        the synthetic sets, whose n is the sum over the sets. NaN means not available: no labels, or a single sample.
    """
    # Source and target together, since a feature that hardly varies in the target would outweigh all others.
    real = np.concatenate([volume.features for volume in [*source, *target]])
    spread = np.maximum(real.std(axis=0), WEAKEST)

    def scaled(volumes: Sequence[Described]) -> list[Described]:
        return [replace(volume, features=volume.features / spread) for volume in volumes]

    references = scaled(target)
    synthetic_name = f"synthetic {names[1]}"
    sets = [
        Images(names[0], "", [scaled(source)]),
        Images(names[1], "", [references], is_target=True),
        *(Images(synthetic_name, str(seed), [scaled(group) for group in groups]) for seed, groups in synthetic.items()),
    ]
    tables = []
    for measure, (whole, function) in QUALITIES.items():
        rows = [
            (measure, images.name, images.seed, structure, value, n)
            for images in sets
            for structure, value, n in _named(*function(images, references), [whole] if whole else list(structures))
        ]
        table = pd.DataFrame(rows, columns=COLUMNS)
        each_seed = table[table["images"] == synthetic_name].groupby("structure", sort=False)
        overall = pd.DataFrame(
            {"value": each_seed["value"].agg(lambda values: values.mean(skipna=False)), "n": each_seed["n"].sum()}
        ).reset_index()
        tables += [table, overall.assign(measure=measure, images=synthetic_name, seed="")[COLUMNS]]
    return pd.concat(tables, ignore_index=True)


def _boundary_edge_ratio(images: Images, _: Sequence[Described]) -> Estimate:
    return _mean([volume.edge_ratios for volume in images.volumes])


def _unet_dice(images: Images, _: Sequence[Described]) -> Estimate:
    return _mean([volume.dice for volume in images.volumes])


def _diversity_l1(images: Images, _: Sequence[Described]) -> Estimate:
    differences = []
    for one, other in images.pairs:
        both = one.heart & other.heart
        differences.append([np.abs(one.middle - other.middle)[both].mean(dtype=np.float64) if both.any() else np.nan])
    return _mean(differences)


def _diversity_intensities(images: Images, _: Sequence[Described]) -> Estimate:
    return _mean([_wasserstein([one], [other]) for one, other in images.pairs])


def _diversity_features(images: Images, _: Sequence[Described]) -> Estimate:
    differences = [one.features.mean(axis=0) - other.features.mean(axis=0) for one, other in images.pairs]
    return _mean([[np.sqrt(np.square(difference).mean())] for difference in differences])


def _distance_intensities(images: Images, target: Sequence[Described]) -> Estimate:
    labelled = [volume for volume in target if volume.histograms.any()]
    value, _ = _mean([_wasserstein(*pair) for pair in images.comparisons(labelled)])
    counts = np.sum([volume.histograms.any(axis=1) for volume in images.volumes], axis=0)
    return value, np.where(np.isfinite(value), counts, 0)


def _distance_features(images: Images, target: Sequence[Described]) -> Estimate:
    value, _ = _mean(
        [
            [frechet_distance(*(np.concatenate([volume.features for volume in volumes]) for volumes in pair))]
            for pair in images.comparisons(target)
        ]
    )
    return value, np.where(np.isfinite(value), sum(len(volume.features) for volume in images.volumes), 0)


# By name: the part of the image that is measured (None: every structure), and the function.
QUALITIES: dict[str, tuple[str | None, Callable[[Images, Sequence[Described]], Estimate]]] = {
    "boundary_edge_ratio": (None, _boundary_edge_ratio),
    "unet_dice": (None, _unet_dice),
    "diversity_l1": ("foreground", _diversity_l1),
    "diversity_intensities": (None, _diversity_intensities),
    "diversity_features": ("crop", _diversity_features),
    "distance_intensities": (None, _distance_intensities),
    "distance_features": ("crop", _distance_features),
}


def _wasserstein(first: Sequence[Described], second: Sequence[Described]) -> list[float]:
    """Return the distance between two sets of volumes for each structure."""
    pooled = [np.sum([volume.histograms for volume in volumes], axis=0) for volumes in (first, second)]
    return [wasserstein(*pair) for pair in zip(*pooled, strict=True)] if first and second else [np.nan]


def _mean(rows: Sequence[np.ndarray | list[float]]) -> Estimate:
    """Return the mean and the number of the finite values of each column."""
    table = np.array(rows, float) if rows else np.full((1, 1), np.nan)
    counts = np.isfinite(table).sum(axis=0)
    totals = np.nansum(table, axis=0)
    return np.divide(totals, counts, out=np.full(len(counts), np.nan), where=counts > 0), counts


def _named(value: np.ndarray, counts: np.ndarray, names: list[str]) -> list[tuple[str, float, int]]:
    """Return structure, value and n of each structure, and their mean if there are several."""
    columns = (np.broadcast_to(column, len(names)) for column in (value, counts))
    rows = [(name, float(one), int(n)) for name, one, n in zip(names, *columns, strict=True)]
    if len(rows) > 1:
        rows.append((measures.AVERAGE, float(np.mean(value)), int(counts.max())))
    return rows


def _dilated(mask: np.ndarray, pixels: int = 1) -> np.ndarray:
    return ndimage.binary_dilation(mask, NEIGHBOURS_IN_PLANE, pixels)


def _eroded(mask: np.ndarray) -> np.ndarray:
    return ndimage.binary_erosion(mask, NEIGHBOURS_IN_PLANE, border_value=1)
