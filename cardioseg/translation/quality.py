"""How good the translation is: content preserved, diversity over styles, realism, each beside its reference.

Every measure is taken of three kinds of image: the source (no translation), the synthetic and the real target. All
images are crops about the heart with intensities in [-1, 1].
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from torch import nn

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.evaluation import metrics
from cardioseg.segmentation import unet

COLUMNS = ["measure", "images", "seed", "structure", "value", "n"]
BINS = 1000
BAND_SCALES = (0, 1, 2, 4, 8)
PERCENTILES = (10, 50, 90)
# Weaker than one grey level of 8 bits: what keeps the logarithm finite in a constant image.
WEAKEST = 1e-3
EDGE_SCALE = 1.0
SURROUNDINGS_MM = 10.0
# Smoothed edges reach this many pixels beyond the two that a label boundary runs between.
EDGE_REACH = 2
NEIGHBOURS_IN_PLANE = ndimage.generate_binary_structure(2, 1)[None]
# Values (columns,) and how many items each is of.
Estimate = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Described:
    """What the measures need of one volume; of one without labels only `features` say anything."""

    edge_ratios: np.ndarray  # (structures,), NaN where not available
    dice: np.ndarray  # (structures,), NaN where not available
    histograms: np.ndarray  # (structures, BINS), each with sum 1, or 0 where there is no such structure
    features: np.ndarray  # (z, features)
    middle: np.ndarray  # (y, x), the slice with most of the heart
    heart: np.ndarray  # (y, x), the heart in it


@dataclass(frozen=True)
class Images:
    """Images of one kind, in groups within which diversity is measured."""

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
        """What is compared to say how far they are from the target: they and it, of the target itself its halves."""
        return halves(target) if self.is_target else [(self.volumes, target)]


def describe(
    images: Sequence[Volume], labels: np.ndarray, structures: int, networks: Sequence[nn.Module], device: torch.device
) -> list[Described]:
    """Describe images of one anatomy, (z, y, x) in [-1, 1], all with the labels (z, y, x; all 0 where unknown).

    networks: segment the images; the Dice is their mean. Raises InputError for shapes that differ and for intensities
    beyond [-1, 1].
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
    """Mean gradient magnitude on each structure's boundary over that elsewhere in and near the heart (structures,).

    masks: boolean (z, y, x), one a structure. In-plane Gaussian derivatives of one pixel; a boundary is the pixels on
    either side of it; elsewhere is up to 10 mm around the heart and more than two pixels from every boundary. 1 says
    that the image's edges do not follow the labels. NaN for a structure that is not there.
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
    """Dice (structures,) between labels and what networks see in the image, both (z, y, x): mean over the networks.

    All NaN where nothing is labelled.
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
    """Fractions (BINS,) of intensities in equal bins of [-1, 1]; all 0 for no intensities."""
    counts, _ = np.histogram(intensities, BINS, (-1, 1))
    return counts / max(1, counts.sum())


def wasserstein(first: np.ndarray, second: np.ndarray) -> float:
    """1-D Wasserstein (earth mover's) distance between two histograms (BINS,), in units of intensity, to 2 / BINS.

    The area between the cumulative distributions. NaN where one is empty.
    """
    if not (first.any() and second.any()):
        return float("nan")
    difference = first / first.sum() - second / second.sum()
    return float(np.abs(np.cumsum(difference)).sum() * 2 / BINS)


def features(slices: np.ndarray) -> np.ndarray:
    """Appearance of slices (n, y, x) in [-1, 1] as marginal statistics (n, features): brightness, contrast, texture.

    Percentiles 10, 50 and 90 of the intensities; and for each of four octaves (differences of Gaussians of 0, 1, 2, 4
    and 8 pixels) the logarithm of the standard deviation and the sparseness, the logarithm of mean magnitude over
    standard deviation (-0.23 for Gaussian noise, less for few sharp edges): marginal statistics like those by which
    Heeger and Bergen (1995) describe texture. Blind to where something is: other textures may have the same features.
    """
    columns = list(np.percentile(slices, PERCENTILES, axis=(1, 2)))
    blurred = [ndimage.gaussian_filter(slices, (0, scale, scale), mode="nearest") for scale in BAND_SCALES]
    for fine, coarse in pairwise(blurred):
        band = (fine - coarse).astype(np.float64)
        spread, magnitude = band.std(axis=(1, 2)) + WEAKEST, np.abs(band).mean(axis=(1, 2)) + WEAKEST
        columns += [np.log(spread), np.log(magnitude / spread)]
    return np.stack(columns, axis=1)


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features (n, features), as in the FID.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Dowson and Landau 1982; Heusel et al. 2017). Of few samples it is too
    large. NaN for fewer than two samples.
    """
    if min(len(first), len(second)) < 2:
        return float("nan")
    covariances = [np.atleast_2d(np.cov(sample, rowvar=False)) for sample in (first, second)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ covariances[1] @ root).clip(0)).sum()
    means = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    return max(0.0, float(means + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * shared))


def halves(volumes: Sequence[Described]) -> list[tuple[list[Described], list[Described]]]:
    """Ways to cut a set in two: the volumes in a circle, half of it from each place on, and the rest."""
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
    """All measures as a table of COLUMNS: a row a measure, kind of image, seed and structure (AVG: their mean).

    source, target: a volume a patient. synthetic: by seed, for each patient its samples. names: those of source and
    target.

    - `boundary_edge_ratio`: see `edge_ratios`; mean over volumes.
    - `unet_dice`: see `consistency`; mean over volumes.
    - `diversity_l1`: mean absolute difference of two volumes where both have the heart, in the slice with most of it.
    - `diversity_intensities`: Wasserstein distance between the intensities of two volumes.
    - `diversity_features`: root mean square difference between the mean features of two volumes.
    - `distance_intensities`: Wasserstein distance to the target's intensities, each volume counting the same.
    - `distance_features`: Frechet distance to the features of the target's slices.

    Diversity is a mean over pairs: of samples of one image where images are synthetic, of patients otherwise. The
    target's own distance is the mean over its `halves`. Features are in standard deviations over all real slices. n
    counts volumes, pairs or (`distance_features`) slices. Rows without a seed are the references, and the mean over the
    synthetic sets, whose n is their sum. NaN is not available: no labels, one sample.
    """
    # The source's as well: a feature that hardly varies in the target would drown all others.
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
    for measure, (whole, function) in MEASURES.items():
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


# By name: the part of the image that it is of, where it is not of every structure.
MEASURES: dict[str, tuple[str | None, Callable[[Images, Sequence[Described]], Estimate]]] = {
    "boundary_edge_ratio": (None, _boundary_edge_ratio),
    "unet_dice": (None, _unet_dice),
    "diversity_l1": ("foreground", _diversity_l1),
    "diversity_intensities": (None, _diversity_intensities),
    "diversity_features": ("crop", _diversity_features),
    "distance_intensities": (None, _distance_intensities),
    "distance_features": ("crop", _distance_features),
}


def _wasserstein(first: Sequence[Described], second: Sequence[Described]) -> list[float]:
    """Distance between two sets of volumes for each structure."""
    pooled = [np.sum([volume.histograms for volume in volumes], axis=0) for volumes in (first, second)]
    return [wasserstein(*pair) for pair in zip(*pooled, strict=True)] if first and second else [np.nan]


def _mean(rows: Sequence[np.ndarray | list[float]]) -> Estimate:
    """Mean and number of the finite values of each column."""
    table = np.array(rows, float) if rows else np.full((1, 1), np.nan)
    counts = np.isfinite(table).sum(axis=0)
    totals = np.nansum(table, axis=0)
    return np.divide(totals, counts, out=np.full(len(counts), np.nan), where=counts > 0), counts


def _named(value: np.ndarray, counts: np.ndarray, names: list[str]) -> list[tuple[str, float, int]]:
    """Structure, value and n, and their mean where there are several."""
    columns = (np.broadcast_to(column, len(names)) for column in (value, counts))
    rows = [(name, float(one), int(n)) for name, one, n in zip(names, *columns, strict=True)]
    if len(rows) > 1:
        rows.append(("AVG", float(np.mean(value)), int(counts.max())))
    return rows


def _dilated(mask: np.ndarray, pixels: int = 1) -> np.ndarray:
    return ndimage.binary_dilation(mask, NEIGHBOURS_IN_PLANE, pixels)


def _eroded(mask: np.ndarray) -> np.ndarray:
    return ndimage.binary_erosion(mask, NEIGHBOURS_IN_PLANE, border_value=1)
