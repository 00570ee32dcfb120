"""How well a segmentation agrees with the manual one: Dice, surface distances and volumes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cardioseg.core.errors import InputError

NOT_AVAILABLE = float("nan")


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances in mm between two surfaces; all NaN where either structure is missing.

    `asd_mm` is the symmetric one: the mean over the distances of all border voxels of both surfaces, pooled, so that
    the larger surface weighs more. It is not the mean of the two directed averages. `hd95_mm` is the 95th percentile of
    the same distances (the 95 % Hausdorff distance).
    """

    asd_mm: float
    asd_prediction_to_truth_mm: float
    asd_truth_to_prediction_mm: float
    hd95_mm: float


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Dice overlap of two boolean masks of the same shape, 2 |A and B| / (|A| + |B|).

    Returns 0 if only one of them is empty and NaN (not available) if both are.

    Raises
    ------
    InputError
        A mask is not boolean, or the shapes differ.
    """
    _check_masks(prediction, truth)
    total = np.count_nonzero(prediction) + np.count_nonzero(truth)
    return float(2 * np.count_nonzero(prediction & truth) / total) if total else NOT_AVAILABLE


def surface_distances(
    prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float]
) -> SurfaceDistances:
    """Surface distances in 3-D between two boolean masks (z, y, x); spacing is in mm, in the same order.

    The surface of a mask is its border voxels: those with at least one of the six face neighbours outside the mask.
    Outside the volume counts as outside the mask. A border voxel's distance is the one to the nearest border voxel of
    the other mask, from centre to centre. The values are those of `assd`, `asd` and `hd95` of MedPy (connectivity
    1).

    Raises
    ------
    InputError
        A mask is not boolean or not 3-D, the shapes differ, or the spacing is not three positive numbers.
    """
    _check_masks(prediction, truth)
    _check_volume(prediction, spacing)
    if not (prediction.any() and truth.any()):
        return SurfaceDistances(NOT_AVAILABLE, NOT_AVAILABLE, NOT_AVAILABLE, NOT_AVAILABLE)
    # Both surfaces lie in the joint bounding box, so nothing outside it matters to any distance.
    box = ndimage.find_objects((prediction | truth).astype(np.uint8))[0]
    prediction_border, truth_border = _border(prediction[box]), _border(truth[box])
    to_truth = _distances(prediction_border, truth_border, spacing)
    to_prediction = _distances(truth_border, prediction_border, spacing)
    pooled = np.concatenate([to_truth, to_prediction])
    return SurfaceDistances(
        asd_mm=float(pooled.mean()),
        asd_prediction_to_truth_mm=float(to_truth.mean()),
        asd_truth_to_prediction_mm=float(to_prediction.mean()),
        hd95_mm=float(np.percentile(pooled, 95)),
    )


def evaluate(
    prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float], structures: Sequence[str]
) -> list[dict[str, str | float]]:
    """Compare two integer label maps (z, y, x), where 0 is background and label k + 1 is `structures[k]`.

    Returns one row a structure, in their order: `structure`, `dice`, `asd_mm`, `asd_prediction_to_truth_mm`,
    `asd_truth_to_prediction_mm`, `volume_ml`, `volume_truth_ml`. Not available is NaN (see `dice` and
    `SurfaceDistances`). Spacing is in mm, (z, y, x).

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
    # All surfaces lie in the joint bounding box, so nothing outside it matters.
    box = ndimage.find_objects(((prediction > 0) | (truth > 0)).view(np.uint8))
    if box:
        prediction, truth = prediction[box[0]], truth[box[0]]
    rows: list[dict[str, str | float]] = []
    for label, structure in enumerate(structures, start=1):
        predicted, true = prediction == label, truth == label
        distances = surface_distances(predicted, true, spacing)
        rows.append(
            {
                "structure": structure,
                "dice": dice(predicted, true),
                "asd_mm": distances.asd_mm,
                "hd95_mm": distances.hd95_mm,
                "asd_prediction_to_truth_mm": distances.asd_prediction_to_truth_mm,
                "asd_truth_to_prediction_mm": distances.asd_truth_to_prediction_mm,
                "volume_ml": float(np.count_nonzero(predicted) * voxel_ml),
                "volume_truth_ml": float(np.count_nonzero(true) * voxel_ml),
            }
        )
    return rows


def _border(mask: np.ndarray) -> np.ndarray:
    border: np.ndarray = mask & ~ndimage.binary_erosion(mask, border_value=0)
    return border


def _distances(border: np.ndarray, other: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Distance in mm from each voxel of a border to the nearest of the other, in the array's order."""
    nearest = ndimage.distance_transform_edt(~other, sampling=spacing, return_distances=False, return_indices=True)
    steps = nearest[:, border] - np.array(np.nonzero(border))
    return np.sqrt(np.square(steps * np.array(spacing)[:, None]).sum(axis=0))


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
