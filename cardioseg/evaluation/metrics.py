"""How well a segmentation agrees with the manual one: Dice, surface distances and volumes.

MedPy measures. This module says what is not available, checks the label maps and adds volumes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from medpy.metric import binary as medpy
from scipy import ndimage

from cardioseg.core.errors import InputError

NOT_AVAILABLE = float("nan")


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between the surfaces of two masks.

    Attributes
    ----------
    asd_mm : float
        Average symmetric surface distance in mm: the mean over the border voxels of both surfaces together. The larger
        surface weighs more, so it is not the mean of the two directed averages.
    hd95_mm : float
        95 % Hausdorff distance in mm: the 95th percentile of the same distances.
    asd_prediction_to_truth_mm, asd_truth_to_prediction_mm : float
        The directed averages in mm: the mean over the border voxels of one surface.
    """

    asd_mm: float
    hd95_mm: float
    asd_prediction_to_truth_mm: float
    asd_truth_to_prediction_mm: float


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Measure the Dice overlap of two masks, 2 |A and B| / (|A| + |B|).

    Parameters
    ----------
    prediction, truth : ndarray of bool, shape (...)
        The masks.

    Returns
    -------
    float
        From 0 (no common voxel) to 1 (equal); 0 if only one mask is empty, NaN (not available) if both are.

    Raises
    ------
    InputError
        A mask is not boolean, or the shapes differ.

    Examples
    --------
    >>> dice(np.array([True, True, False]), np.array([False, True, False]))
    0.6666666666666666
    """
    _check_masks(prediction, truth)
    return float(medpy.dc(prediction, truth)) if prediction.any() or truth.any() else NOT_AVAILABLE


def surface_distances(
    prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float]
) -> SurfaceDistances:
    """Measure the distances between the surfaces of two masks in 3-D.

    The surface of a mask is its border voxels: those with at least one of the six face neighbours outside the mask.
    What lies outside the volume is outside the mask. The distance of a border voxel is that to the nearest border voxel
    of the other mask, from centre to centre.

    MedPy sees the masks' joint bounding box with a margin of one voxel. The box holds both surfaces, so the values are
    those of the whole volume, but the distance transforms are many times faster.

    Parameters
    ----------
    prediction, truth : ndarray of bool, shape (z, y, x)
        The masks.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).

    Returns
    -------
    SurfaceDistances
        All NaN (not available) if a mask is empty.

    Raises
    ------
    InputError
        A mask is not boolean or not 3-D, the shapes differ, or the spacing is not three positive numbers.
    """
    _check_masks(prediction, truth)
    _check_volume(prediction, spacing)
    if not (prediction.any() and truth.any()):
        return SurfaceDistances(NOT_AVAILABLE, NOT_AVAILABLE, NOT_AVAILABLE, NOT_AVAILABLE)
    box = ndimage.find_objects((prediction | truth).view(np.uint8))[0]
    prediction, truth = np.pad(prediction[box], 1), np.pad(truth[box], 1)
    # What medpy.assd, hd95 and asd summarise. They would measure these distances six times.
    of_prediction = medpy.__surface_distances(prediction, truth, spacing)
    of_truth = medpy.__surface_distances(truth, prediction, spacing)
    both = np.concatenate([of_prediction, of_truth])
    return SurfaceDistances(
        asd_mm=float(both.mean()),
        hd95_mm=float(np.percentile(both, 95)),
        asd_prediction_to_truth_mm=float(of_prediction.mean()),
        asd_truth_to_prediction_mm=float(of_truth.mean()),
    )


def evaluate(
    prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float], structures: Sequence[str]
) -> list[dict[str, str | float]]:
    """Measure each structure of a label map against the manual one.

    Parameters
    ----------
    prediction, truth : ndarray of int, shape (z, y, x)
        Label maps: 0 is background, label k + 1 is `structures[k]`.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).
    structures : sequence of str
        Names of the structures.

    Returns
    -------
    list of dict
        One row per structure, in their order: `structure`, `dice`, `asd_mm`, `hd95_mm`, `asd_prediction_to_truth_mm`,
        `asd_truth_to_prediction_mm`, `volume_ml`, `volume_truth_ml`. What is not available is NaN (see `dice` and
        `surface_distances`).

    Raises
    ------
    InputError
        A map is not 3-D or not of integers, the shapes differ, a label has no structure, or the spacing is not three
        positive numbers.
    """
    _check_same_shape(prediction, truth)
    _check_volume(prediction, spacing)
    for name, labels in (("prediction", prediction), ("truth", truth)):
        _check_labels(name, labels, len(structures))
    voxel_ml = float(np.prod(spacing)) / 1000
    rows: list[dict[str, str | float]] = []
    for label, structure in enumerate(structures, start=1):
        predicted, true = prediction == label, truth == label
        rows.append(
            {
                "structure": structure,
                "dice": dice(predicted, true),
                **asdict(surface_distances(predicted, true, spacing)),
                "volume_ml": float(np.count_nonzero(predicted) * voxel_ml),
                "volume_truth_ml": float(np.count_nonzero(true) * voxel_ml),
            }
        )
    return rows


def _check_masks(prediction: np.ndarray, truth: np.ndarray) -> None:
    _check_same_shape(prediction, truth)
    for name, mask in (("prediction", prediction), ("truth", truth)):
        if mask.dtype != bool:
            raise InputError(f"The {name} must be a boolean mask, not of {mask.dtype}; compare the labels first.")


def _check_same_shape(prediction: np.ndarray, truth: np.ndarray) -> None:
    if prediction.shape != truth.shape:
        raise InputError(
            f"The prediction's shape {prediction.shape} differs from the truth's {truth.shape}; "
            "compare them on the same grid, that of the raw image."
        )


def _check_volume(volume: np.ndarray, spacing: tuple[float, float, float]) -> None:
    if volume.ndim != 3:
        raise InputError(f"Expected a volume (z, y, x), not an array of shape {volume.shape}.")
    if len(spacing) != 3 or not all(np.isfinite(size) and size > 0 for size in spacing):
        raise InputError(f"The spacing must be three positive numbers (z, y, x) in mm, not {spacing}.")


def _check_labels(name: str, labels: np.ndarray, count: int) -> None:
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"The labels of the {name} must be integers, not {labels.dtype}.")
    if labels.size and (labels.min() < 0 or labels.max() > count):
        raise InputError(
            f"The {name} has labels from {labels.min()} to {labels.max()}; expected 0 for background and 1 to {count} "
            "for the structures. Convert the codes on disk to labels first."
        )
