"""Refine a segmentation by the image (dense CRF) and by its shape (3-D morphology): Chen et al. 2019, section 2.3."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydensecrf.densecrf import DenseCRF
from pydensecrf.utils import create_pairwise_bilateral, create_pairwise_gaussian
from scipy import ndimage

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume, check_spacing
from cardioseg.inference import raw_labels

# A slice whose background is everywhere at least this probable has no structure that a CRF could change.
CERTAIN = 0.99
# Keeps the energy of an impossible class finite.
LEAST_PROBABILITY = 1e-6
# Relative tolerance, so that a voxel at exactly the radius belongs to the structuring element despite rounding.
ROUNDING = 1e-6
IN_SLICE_NEIGHBOURS = ndimage.generate_binary_structure(2, 1)[np.newaxis]
# Parts of the post-processing: the CRF, the morphology, or both in this order.
PARTS = ("both", "crf", "morphology")


@dataclass(frozen=True)
class Crf:
    """Settings of the dense CRF, see `dense_crf`.

    Parameters
    ----------
    iterations : int
        Number of mean-field iterations, 0 or more.
    gaussian_mm : float
        Standard deviation of the kernel of position, in mm.
    gaussian_compat : float
        Potts weight of the kernel of position, 0 or more.
    bilateral_mm : float
        Standard deviation in position of the kernel of position and intensity, in mm.
    bilateral_intensity : float
        Standard deviation in intensity of the same kernel, in the units of the image.
    bilateral_compat : float
        Potts weight of the same kernel, 0 or more.

    Raises
    ------
    InputError
        A setting is out of range.
    """

    iterations: int
    gaussian_mm: float
    gaussian_compat: float
    bilateral_mm: float
    bilateral_intensity: float
    bilateral_compat: float

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise InputError(f"The CRF's iterations must be 0 or more, not {self.iterations}.")
        for name in ("gaussian_mm", "bilateral_mm", "bilateral_intensity"):
            width = getattr(self, name)
            if not (np.isfinite(width) and width > 0):
                raise InputError(f"The CRF's {name} must be a positive number, not {width}.")
        for name in ("gaussian_compat", "bilateral_compat"):
            weight = getattr(self, name)
            if not (np.isfinite(weight) and weight >= 0):
                raise InputError(f"The CRF's {name} must be 0 or more, not {weight}.")


@dataclass(frozen=True)
class Morphology:
    """Settings of the 3-D morphology, see `smooth`.

    Parameters
    ----------
    radius_mm : tuple of float
        Half-axes (z, y, x) of the ellipsoid in mm, 0 or more.
    order : tuple of int
        Labels that are closed one after the other, all different and none of them background; may be empty.
    keep_largest : bool
        Whether only the largest connected component of the union stays.

    Raises
    ------
    InputError
        A setting is out of range.
    """

    radius_mm: tuple[float, float, float]
    order: tuple[int, ...]
    keep_largest: bool

    @classmethod
    def of(cls, section: Mapping[str, Any], structures: Sequence[str]) -> "Morphology":
        """Make settings from the configuration's `postprocessing.morphology`, where label k + 1 is `structures[k]`.

        Parameters
        ----------
        section : mapping
            The configuration's `postprocessing.morphology`.
        structures : sequence of str
            Names of the structures.

        Returns
        -------
        Morphology
            The settings.

        Raises
        ------
        InputError
            A setting is out of range.
        """
        return cls(
            radius_mm=tuple(section["radius_mm"]),
            order=tuple(1 + structures.index(name) for name in section["order"]),
            keep_largest=section["keep_largest"],
        )

    def __post_init__(self) -> None:
        if len(self.radius_mm) != 3 or not all(np.isfinite(radius) and radius >= 0 for radius in self.radius_mm):
            raise InputError(
                f"The smoothing radius must be three numbers (z, y, x) in mm, 0 or more, not {self.radius_mm}."
            )
        if 0 in self.order or len(set(self.order)) != len(self.order):
            raise InputError(
                f"The smoothing order must name different structures and not the background, not {self.order}."
            )


@dataclass(frozen=True)
class Settings:
    """Settings of the whole post-processing."""

    crf: Crf
    morphology: Morphology

    @classmethod
    def of(cls, section: Mapping[str, Any], structures: Sequence[str]) -> "Settings":
        """Make settings from the configuration's `postprocessing`, where label k + 1 is `structures[k]`.

        Parameters
        ----------
        section : mapping
            The configuration's `postprocessing`.
        structures : sequence of str
            Names of the structures.

        Returns
        -------
        Settings
            The settings.

        Raises
        ------
        InputError
            A setting is out of range.
        """
        return cls(Crf(**section["crf"]), Morphology.of(section["morphology"], structures))


def postprocess(
    probabilities: Volume, image: Volume, raw: Volume, settings: Settings, parts: Iterable[str]
) -> dict[str, np.ndarray]:
    """Make labels on the raw grid from class probabilities on the grid of the crop.

    The CRF works on the grid of the crop, the morphology on the raw grid.

    Parameters
    ----------
    probabilities : Volume of shape (classes, z, y, x)
        Probabilities that sum to 1 over the classes; class 0 is background.
    image : Volume of shape (z, y, x)
        The normalised crop that the probabilities belong to.
    raw : Volume of shape (z, y, x)
        The raw image.
    settings : Settings
        Settings of the CRF and the morphology.
    parts : iterable of str
        What to do: some of `PARTS`.

    Returns
    -------
    dict of str to ndarray of uint8, shape (z, y, x)
        Labels by part.

    Raises
    ------
    InputError
        As in `dense_crf` and `smooth`.
    """
    refined: Volume | None = None
    labels = {}
    for part in parts:
        if part != "morphology" and refined is None:
            array = dense_crf(image.array, probabilities.array, image.spacing, settings.crf)
            refined = Volume(array, probabilities.affine)
        used = probabilities if part == "morphology" or refined is None else refined
        labels[part] = raw_labels.on_raw_grid(used, raw)
        if part != "crf":
            labels[part] = smooth(labels[part], raw.spacing, settings.morphology)
    return labels


def dense_crf(
    image: np.ndarray,
    probabilities: np.ndarray,
    spacing: tuple[float, float, float],
    settings: Crf,
) -> np.ndarray:
    """Refine probabilities by a fully connected CRF in each slice (paper 2.3).

    The unary energy is -log of the probabilities. The pairwise energy is a Potts model with two symmetrically
    normalised Gaussian kernels: one of position (neighbours agree), one of position and intensity (neighbours of
    similar intensity agree). Inference is by mean field.

    Widths are in mm, so settings apply to any resolution. A term of weight 0 is left out. Without terms, or with 0
    iterations, the probabilities are returned as they were, to 1e-5. Slices whose background is at least `CERTAIN`
    everywhere are returned exactly as they were: where background is the most probable class of every pixel, each
    iteration only strengthens it, so the CRF would give the same labels.

    Parameters
    ----------
    image : ndarray of shape (z, y, x)
        The normalised image.
    probabilities : ndarray of shape (classes, z, y, x)
        Probabilities that sum to 1 over the classes; class 0 is background.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).
    settings : Crf
        Widths and weights of the kernels, and the number of iterations.

    Returns
    -------
    ndarray of float32, shape (classes, z, y, x)
        Probabilities that sum to 1 over the classes.

    Raises
    ------
    InputError
        Shapes do not fit, or values are not finite or not probabilities.

    References
    ----------
    P. Kraehenbuehl, V. Koltun: Efficient inference in fully connected CRFs with Gaussian edge potentials, NIPS 2011.
    """
    check_spacing(spacing)
    _check_crf_input(image, probabilities)
    refined = probabilities.astype(np.float32, order="C")  # as the CRF takes its energies
    for z in range(image.shape[0]):
        if refined[0, z].min() >= CERTAIN:
            continue
        crf = DenseCRF(image[z].size, len(refined))
        crf.setUnaryEnergy(-np.log(np.maximum(refined[:, z], LEAST_PROBABILITY)).reshape(len(refined), -1))
        if settings.gaussian_compat > 0:
            widths = [settings.gaussian_mm / size for size in spacing[1:]]
            crf.addPairwiseEnergy(create_pairwise_gaussian(widths, image[z].shape), compat=settings.gaussian_compat)
        if settings.bilateral_compat > 0:
            widths = [settings.bilateral_mm / size for size in spacing[1:]]
            features = create_pairwise_bilateral(
                widths, (settings.bilateral_intensity,), image[z, ..., np.newaxis], chdim=2
            )
            crf.addPairwiseEnergy(features, compat=settings.bilateral_compat)
        refined[:, z] = np.asarray(crf.inference(settings.iterations)).reshape(refined[:, z].shape)
    return refined


def smooth(labels: np.ndarray, spacing: tuple[float, float, float], settings: Morphology) -> np.ndarray:
    """Close a label map in 3-D: first the union of all structures, then some structures (paper 2.3).

    The paper dilates and erodes the union, then the myocardium and the left ventricle separately; `order` is their
    labels. The structuring element is an ellipsoid with the half-axes `radius_mm`. An axis whose radius is below one
    voxel is left alone. The background continues beyond the volume, which removes nothing at its edge. If the radius
    reaches the next slice, the closing can fill little in a structure's first and last slices; a z radius below the
    slice distance closes each slice by itself.

    - The union: a voxel that the closing adds gets the label of the nearest voxel of a structure, in mm.
    - The labels of `order`, one after the other, from the enclosing structure to the enclosed one. A closing stays
      within the closed union, and never takes a voxel of a label later in `order`: a ring of myocardium does not
      swallow a small cavity. The first label may take any other voxel. A later label may only take voxels whose four
      neighbours in the slice also belong to labels of `order`: a cavity grows into the wall around it, but never
      through it to another structure or to the background.

    With `keep_largest`, an addition to the paper, only the largest face-connected component of the closed union stays,
    so pieces of a heart that the closing joins stay together. Without it the union never shrinks, and smoothing twice
    gives the same as smoothing once.

    Parameters
    ----------
    labels : ndarray of int, shape (z, y, x)
        The label map; 0 is background.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).
    settings : Morphology
        Radius of the closing, the order of the labels, and whether small pieces are removed.

    Returns
    -------
    ndarray of shape (z, y, x)
        Labels of the same type. No label is added that the map did not have.

    Raises
    ------
    InputError
        The labels are not a volume of integers from 0, or the spacing is not three positive numbers.
    """
    check_spacing(spacing)
    _check_smooth_input(labels)
    result = labels.copy()
    if not result.any():
        return result
    # A closing stays within the bounding box of what it closes.
    box = ndimage.find_objects((result > 0).astype(np.uint8))[0]
    region = result[box]  # a view, so that changes of it change the result

    nearest = ndimage.distance_transform_edt(region == 0, sampling=spacing, return_distances=False, return_indices=True)
    union = _close(region > 0, spacing, settings.radius_mm)
    if settings.keep_largest:
        union = largest_component(union)
    region[union] = region[tuple(nearest)][union]
    region[~union] = 0

    allowed = union
    for position, label in enumerate(settings.order):
        later = np.isin(region, settings.order[position + 1 :])
        region[_close(region == label, spacing, settings.radius_mm) & allowed & ~later] = label
        if position == 0:
            allowed = ndimage.binary_erosion(np.isin(region, settings.order), IN_SLICE_NEIGHBOURS)
    return result


def _close(mask: np.ndarray, spacing: tuple[float, float, float], radius_mm: tuple[float, float, float]) -> np.ndarray:
    """Close a mask by an ellipsoid: two thresholded distance transforms, whose cost does not grow with the radius."""
    if not mask.any():
        return mask
    # In units of the radius the ellipsoid is the unit ball. An axis with a radius of zero gets a step far beyond it.
    step = [size / max(radius, 1e-3 * size) for size, radius in zip(spacing, radius_mm, strict=True)]
    # The margin holds the dilation and some background around it.
    margin = [int((1 + ROUNDING) / length) + 1 for length in step]
    padded = np.pad(mask, [(width, width) for width in margin])
    dilated = ndimage.distance_transform_edt(~padded, sampling=step) <= 1 + ROUNDING
    closed: np.ndarray = ndimage.distance_transform_edt(dilated, sampling=step) > 1 + ROUNDING
    return closed[tuple(slice(width, -width) for width in margin)]


def largest_component(mask: np.ndarray) -> np.ndarray:
    """Keep the largest piece of a mask, whose neighbours share a face.

    Parameters
    ----------
    mask : ndarray of bool
        A mask of any dimension.

    Returns
    -------
    ndarray of bool, the same shape
        The largest piece; an empty mask stays empty.
    """
    components, count = ndimage.label(mask)
    return components == 1 + np.argmax(np.bincount(components.ravel(), minlength=2)[1:]) if count else mask


def _check_crf_input(image: np.ndarray, probabilities: np.ndarray) -> None:
    if image.ndim != 3 or image.size == 0 or probabilities.ndim != 4 or probabilities.shape[1:] != image.shape:
        raise InputError(
            f"Expected an image (z, y, x) and probabilities (class, z, y, x) on its grid, not {image.shape} and "
            f"{probabilities.shape}."
        )
    if not np.isfinite(image).all():
        raise InputError("The image has values that are not finite; replace them before the CRF.")
    # Written so that NaN fails, too.
    if not (probabilities.min() >= 0 and np.abs(probabilities.sum(axis=0) - 1).max() < 1e-3):
        raise InputError("The probabilities must be at least 0 and sum to 1 over the classes (first axis).")


def _check_smooth_input(labels: np.ndarray) -> None:
    if labels.ndim != 3 or not np.issubdtype(labels.dtype, np.integer) or (labels < 0).any():
        raise InputError(
            f"Expected a label map (z, y, x) of integers from 0, not {labels.dtype} of shape {labels.shape}."
        )
