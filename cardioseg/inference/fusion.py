"""Fusion of the networks' probabilities with labels of the patient's source image, registered to the target image."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from cardioseg.core import overlap, randomness
from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.inference import postprocessing, raw_labels
from cardioseg.preprocessing import resampling
from cardioseg.registration import elastix

# A stack from apex to base leaves less of the heart beyond its ends, by the area of the slices.
MOST_BEYOND = 0.2


def predicted_labels(
    members: Sequence[np.ndarray], crop: Volume, raw: Volume, morphology: postprocessing.Morphology
) -> np.ndarray:
    """Label a source image with the networks that were trained on source images.

    Parameters
    ----------
    members : sequence of ndarray, shape (classes, z, y, x)
        Class probabilities of each network on the crop's grid.
    crop : Volume of shape (z, y, x)
        The crop of the source image.
    raw : Volume of shape (z, y, x)
        The raw source image.
    morphology : postprocessing.Morphology
        Settings of the morphology, which is all of the post-processing that is done.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        Labels on the raw image's grid.
    """
    mean = Volume(raw_labels.mean_probabilities(members), crop.affine)
    return postprocessing.smooth(raw_labels.on_raw_grid(mean, raw), raw.spacing, morphology)


def carry(
    target: Volume, source: Volume, labels: np.ndarray, registration: Mapping[str, Any], stage: str, seed: int
) -> Volume:
    """Carry predicted labels of a source image to the target image by registration.

    Parameters
    ----------
    target, source : Volume of shape (z, y, x)
        Raw images of one patient.
    labels : ndarray of uint8, shape (z, y, x)
        Labels on the source image's grid.
    registration : mapping
        The section `registration` of the configuration.
    stage : str
        The stage of the registration whose labels are used.
    seed : int
        The seed of the configuration. The draws do not depend on the patient, since a new image has no patient's name.

    Returns
    -------
    Volume of uint8, shape (z, y, x)
        Labels on the target image's grid.

    Raises
    ------
    InputError
        There are no labels, they do not reach the target image, or elastix fails.
    """
    if not labels.any():
        raise InputError("no structures found in it.")
    on_source = Volume(labels, source.affine)
    draws = randomness.derive(seed, "source image")
    carried = elastix.propagate(target, source, on_source, registration, draws, last=stage)
    return Volume(carried[stage], target.affine)


class Fused(NamedTuple):
    """Probabilities that were fused with registered labels, unless these agree too little.

    Attributes
    ----------
    probabilities : ndarray of float32, shape (classes, z, y, x)
        Probabilities on the network's grid, which sum to 1 over the classes.
    agreement : float
        Dice between the labels and the network's most probable classes in the slices that the labels reach, mean over
        the structures.
    used : bool
        Whether the labels were used; otherwise the probabilities are the network's own.
    """

    probabilities: np.ndarray
    agreement: float
    used: bool


def fuse(probabilities: Volume, witness: Volume, settings: Mapping[str, Any]) -> Fused:
    """Average a network's probabilities with registered labels, which are blurred because registration is not exact.

    Where the two agree too little, registration has probably failed, and the probabilities stay as they are. The labels
    also tell where the heart ends: at the ends of the stack, slices that they hardly reach become background. If that
    were more than `MOST_BEYOND` of the heart, the other examination probably shows a part of it alone, and the ends
    stay as they are.

    Parameters
    ----------
    probabilities : Volume of shape (classes, z, y, x)
        Probabilities that sum to 1 over the classes.
    witness : Volume of shape (z, y, x)
        Labels of the same slices; the in-plane grid may differ. Slices without a structure are not averaged.
    settings : mapping
        `weight` of the witness, from 0 to 1, `blur_mm`, the standard deviations (z, y, x) of the blur in mm,
        `least_agreement`, and `least_area`, the least area of the labels in an end slice, as a share of what the
        network draws there (0: the ends stay as they are).

    Returns
    -------
    Fused
        The probabilities, and whether the labels were used: not if they agree less than `least_agreement`.

    Raises
    ------
    InputError
        The two grids do not share slices and in-plane axes.
    """
    classes, *shape = probabilities.array.shape
    maps = Volume(resampling.one_hot(witness.array, classes)[1:], witness.affine)
    structures = resampling.on_grid(maps, (shape[0], shape[1], shape[2]), probabilities.affine)
    reached = np.any(witness.array > 0, axis=(1, 2))
    agreement = _agreement(structures[:, reached] > 0.5, probabilities.array[:, reached].argmax(axis=0))
    if agreement < settings["least_agreement"]:
        return Fused(probabilities.array, agreement, used=False)
    drawn = probabilities.array.argmax(axis=0) > 0
    beyond = _beyond(structures.sum(axis=0) > 0.5, drawn, settings["least_area"])
    structures = _blurred(structures, reached, np.divide(settings["blur_mm"], probabilities.spacing))
    seen = np.concatenate([(1 - structures.sum(axis=0, keepdims=True)).clip(min=0), structures])
    weight = settings["weight"] * reached.reshape(1, -1, 1, 1)
    fused: np.ndarray = ((1 - weight) * probabilities.array + weight * seen).astype(np.float32)
    fused[0, beyond] = 1
    fused[1:, beyond] = 0
    return Fused(fused, agreement, used=True)


def _beyond(labelled: np.ndarray, drawn: np.ndarray, least_area: float) -> np.ndarray:
    """Find the slices at either end of masks (z, y, x) where labels cover no more than a share of what is drawn.

    There are none if these slices hold too much of what is drawn, see `MOST_BEYOND`.
    """
    none = np.zeros(len(labelled), bool)
    areas = drawn.sum(axis=(1, 2))
    within = np.flatnonzero(labelled.sum(axis=(1, 2)) > least_area * areas)
    if least_area == 0 or not len(within):
        return none
    beyond = ~none
    beyond[within[0] : within[-1] + 1] = False
    return none if areas[beyond].sum() > MOST_BEYOND * areas.sum() else beyond


def _blurred(maps: np.ndarray, reached: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Blur maps (structures, z, y, x) by deviations (z, y, x) in voxels; slices that are not reached do not count."""
    blurred = ndimage.gaussian_filter(maps, (0, *deviation), mode=("reflect", "constant", "reflect", "reflect"))
    share = ndimage.gaussian_filter(reached.astype(np.float32), deviation[0], mode="constant")
    normalised: np.ndarray = blurred / np.where(reached, share, 1)[:, None, None]
    return normalised


def _agreement(masks: np.ndarray, labels: np.ndarray) -> float:
    """Mean Dice between masks (structures, z, y, x) and labels (z, y, x), over the structures that either has."""
    agreement = overlap.mean(overlap.dice(mask, labels == label) for label, mask in enumerate(masks, start=1))
    return 0.0 if math.isnan(agreement) else agreement
