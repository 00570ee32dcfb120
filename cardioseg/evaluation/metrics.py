"""How well a segmentation agrees with the manual one: Dice, surface distances and volumes.

MedPy measures. This module checks the label maps, says which values are not available, and adds volumes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from medpy.metric import binary as medpy
from scipy import ndimage

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import check_spacing

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


@dataclass(frozen=True)
class Surfaces:
    """How far the border voxels of two masks lie from each other's surface, and in which slices.

    Attributes
    ----------
    prediction_mm, truth_mm : ndarray of shape (n,) and (m,)
        The distance in mm of each border voxel of one mask to the nearest one of the other. Empty if a mask is empty.
    prediction_slices, truth_slices : ndarray of int, shape (n,) and (m,)
        The slices that these voxels lie in.
    """

    prediction_mm: np.ndarray
    truth_mm: np.ndarray
    prediction_slices: np.ndarray
    truth_slices: np.ndarray

    def distances(self, slices: np.ndarray | None = None) -> SurfaceDistances:
        """Summarise the distances.

        Parameters
        ----------
        slices : ndarray of bool, shape (z,), optional
            Count the border voxels of these slices only; by default all. Their distances stay those to the nearest
            border voxel of the whole other mask, so that no cut counts as surface.

        Returns
        -------
        SurfaceDistances
            NaN (not available) where no border voxel counts.
        """
        of_prediction, of_truth = self.prediction_mm, self.truth_mm
        if slices is not None:
            of_prediction, of_truth = of_prediction[slices[self.prediction_slices]], of_truth[slices[self.truth_slices]]
        both = np.concatenate([of_prediction, of_truth])
        return SurfaceDistances(
            asd_mm=_mean(both),
            hd95_mm=float(np.percentile(both, 95)) if len(both) else NOT_AVAILABLE,
            asd_prediction_to_truth_mm=_mean(of_prediction),
            asd_truth_to_prediction_mm=_mean(of_truth),
        )


def surfaces(prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float]) -> Surfaces:
    """Measure the distances between the surfaces of two masks in 3-D.

    The surface of a mask is its border voxels: those with at least one of the six face neighbours outside the mask.
    What lies outside the volume is outside the mask. The distance of a border voxel is that to the nearest border voxel
    of the other mask, from centre to centre.

    MedPy sees the masks' joint bounding box. The box holds both surfaces, so the values are those of the whole volume,
    but the distance transforms are many times faster.

    Parameters
    ----------
    prediction, truth : ndarray of bool, shape (z, y, x)
        The masks.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).

    Returns
    -------
    Surfaces
        Without any distance if a mask is empty.

    Raises
    ------
    InputError
        A mask is not boolean or not 3-D, the shapes differ, or the spacing is not three positive numbers.
    """
    _check_masks(prediction, truth)
    _check_volume(prediction, spacing)
    if not (prediction.any() and truth.any()):
        return Surfaces(*(np.empty(0) for _ in range(2)), *(np.empty(0, int) for _ in range(2)))
    box = ndimage.find_objects((prediction | truth).view(np.uint8))[0]
    prediction, truth = prediction[box], truth[box]
    return Surfaces(
        # What medpy.assd, hd95 and asd summarise. They would measure these distances six times.
        medpy.__surface_distances(prediction, truth, spacing),
        medpy.__surface_distances(truth, prediction, spacing),
        *(_border_slices(mask) + box[0].start for mask in (prediction, truth)),
    )


@dataclass(frozen=True)
class Comparison:
    """One structure in two label maps.

    Attributes
    ----------
    structure : str
        Its name.
    prediction, truth : ndarray of bool, shape (z, y, x)
        Its masks.
    surfaces : Surfaces
        The distances between their surfaces.
    """

    structure: str
    prediction: np.ndarray
    truth: np.ndarray
    surfaces: Surfaces


def compare(
    prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float], structures: Sequence[str]
) -> list[Comparison]:
    """Compare each structure of a label map with the manual one.

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
    list of Comparison
        One per structure, in their order.

    Raises
    ------
    InputError
        A map is not 3-D or not of integers, the shapes differ, a label has no structure, or the spacing is not three
        positive numbers.
    """
    _check_same_shape(prediction, truth)
    for name, labels in (("prediction", prediction), ("truth", truth)):
        _check_labels(name, labels, len(structures))
    masks = [(prediction == label, truth == label) for label in range(1, 1 + len(structures))]
    return [
        Comparison(structure, predicted, true, surfaces(predicted, true, spacing))
        for structure, (predicted, true) in zip(structures, masks, strict=True)
    ]


def agreement(found: Comparison, slices: np.ndarray | None = None) -> dict[str, float]:
    """Measure how well the two masks of a structure agree.

    Parameters
    ----------
    found : Comparison
        The structure in both label maps.
    slices : ndarray of bool, shape (z,), optional
        Count the voxels of these slices only; by default all. See `Surfaces.distances`.

    Returns
    -------
    dict of str to float
        The measures of `measures.MEASURES` and the directed distances, by column. NaN where one is not available.
    """
    prediction, truth = (mask if slices is None else mask[slices] for mask in (found.prediction, found.truth))
    return {"dice": dice(prediction, truth), **asdict(found.surfaces.distances(slices))}


def measure(found: Comparison, spacing: tuple[float, float, float]) -> dict[str, str | float]:
    """Measure one structure.

    Parameters
    ----------
    found : Comparison
        The structure in both label maps.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).

    Returns
    -------
    dict
        `structure`, `dice`, `asd_mm`, `hd95_mm`, `asd_prediction_to_truth_mm`, `asd_truth_to_prediction_mm`,
        `volume_ml`, `volume_truth_ml`. What is not available is NaN (see `dice` and `Surfaces.distances`).
    """
    voxel_ml = float(np.prod(spacing)) / 1000
    return {
        "structure": found.structure,
        **agreement(found),
        "volume_ml": float(np.count_nonzero(found.prediction) * voxel_ml),
        "volume_truth_ml": float(np.count_nonzero(found.truth) * voxel_ml),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else NOT_AVAILABLE


def _border_slices(mask: np.ndarray) -> np.ndarray:
    """Return the slice of each border voxel, in the order of the array, as MedPy orders its distances."""
    return np.nonzero(mask & ~ndimage.binary_erosion(mask))[0]


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
    check_spacing(spacing)


def _check_labels(name: str, labels: np.ndarray, count: int) -> None:
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"The labels of the {name} must be integers, not {labels.dtype}.")
    if labels.size and (labels.min() < 0 or labels.max() > count):
        raise InputError(
            f"The {name} has labels from {labels.min()} to {labels.max()}; expected 0 for background and 1 to {count} "
            "for the structures. Convert the codes on disk to labels first."
        )
