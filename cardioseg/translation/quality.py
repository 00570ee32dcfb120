"""How good the translation is: content preserved, diversity over styles, and realism, each beside a reference.

Every measure is taken of three kinds of image: source (no translation), synthetic and real target. All images are crops
around the heart with intensities in [-1, 1].
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from torch import nn

from cardioseg.core.volumes import Volume
from cardioseg.evaluation import measures
from cardioseg.translation.image_statistics import WEAKEST, Described, describe, frechet_distance, wasserstein

log = logging.getLogger(__name__)

COLUMNS = ["measure", "images", "seed", "structure", "value", "n"]
# Values (columns,), and the number of items that each is the mean of.
Estimate = tuple[np.ndarray, np.ndarray]


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

    Raises
    ------
    InputError
        As in `image_statistics.describe`.
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

    - `boundary_edge_ratio`: see `image_statistics.edge_ratios`; mean over volumes.
    - `unet_dice`: see `image_statistics.consistency`; mean over volumes.
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
