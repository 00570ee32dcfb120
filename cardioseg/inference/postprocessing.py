"""Refine a segmentation by the image (dense CRF) and by its shape (3-D morphology): Chen et al. 2019, section 2.3."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydensecrf.densecrf import DenseCRF
from pydensecrf.utils import create_pairwise_bilateral, create_pairwise_gaussian
from scipy import ndimage

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.inference import raw_labels

# A slice whose background is everywhere at least this probable has no structure that a CRF could change.
CERTAIN = 0.99
# Keeps the energy of an impossible class finite.
LEAST_PROBABILITY = 1e-6
# Relative slack, so that a voxel at exactly the radius belongs to the structuring element whatever the rounding.
ROUNDING = 1e-6
IN_SLICE_NEIGHBOURS = ndimage.generate_binary_structure(2, 1)[np.newaxis]
# What may be done to probabilities: the CRF, the morphology, or the one after the other.
PARTS = ("both", "crf", "morphology")


@dataclass(frozen=True)
class Crf:
    """Settings of the dense CRF: `dense_crf` says what they do.

    Parameters
    ----------
    iterations
        Number of mean-field iterations, 0 or more.
    gaussian_mm
        Standard deviation of the kernel of position.
    gaussian_compat
        Potts weight of the kernel of position, 0 or more.
    bilateral_mm
        Standard deviation, in position, of the kernel of position and intensity.
    bilateral_intensity
        Standard deviation, in intensity, of the kernel of position and intensity, in the units of the image.
    bilateral_compat
        Potts weight of the kernel of position and intensity, 0 or more.

    Raises
    ------
    InputError
        A setting is impossible.
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
    """Settings of the 3-D morphology: `smooth` says what they do.

    Parameters
    ----------
    radius_mm
        Half-axes (z, y, x) of the ellipsoid, 0 or more.
    order
        Labels that are closed one after the other, all different, none of them background; may be empty.
    keep_largest
        Whether only the largest connected component of the union stays.

    Raises
    ------
    InputError
        A setting is impossible.
    """

    radius_mm: tuple[float, float, float]
    order: tuple[int, ...]
    keep_largest: bool

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
        """Those of the configuration's `postprocessing`, which names structures; label k + 1 is `structures[k]`."""
        morphology = section["morphology"]
        return cls(
            Crf(**section["crf"]),
            Morphology(
                radius_mm=tuple(morphology["radius_mm"]),
                order=tuple(1 + structures.index(name) for name in morphology["order"]),
                keep_largest=morphology["keep_largest"],
            ),
        )


def postprocess(
    probabilities: Volume, image: Volume, raw: Volume, settings: Settings, parts: Iterable[str]
) -> dict[str, np.ndarray]:
    """Make labels on the raw image's grid from class probabilities on the crop's.

    The CRF works on the crop's grid, the morphology on the raw image's.

    Parameters
    ----------
    probabilities
        (class, z, y, x), class 0 is background; sums to one over classes.
    image
        The normalised crop (z, y, x) that the probabilities are of.
    raw
        The raw image (z, y, x).
    settings
        Of the CRF and the morphology.
    parts
        What to do: some of `PARTS`.

    Returns
    -------
    dict
        By part, labels (z, y, x; uint8).

    Raises
    ------
    InputError
        As `dense_crf` and `smooth`.
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
    """Refine probabilities by a fully connected CRF in each slice: Kraehenbuehl & Koltun 2011, as in the paper's 2.3.

    The unary energy is -log of the probabilities; the pairwise energy is a Potts model under two Gaussian kernels,
    symmetrically normalised: one of position (neighbours agree) and one of position and intensity (neighbours of like
    intensity agree). Inference is mean field.

    Widths are in mm and converted by the spacing, so settings hold for any resolution. A term of weight 0 is left out;
    without terms, or with 0 iterations, the probabilities come back as they were, to 1e-5. So do, exactly, slices
    whose background is at least `CERTAIN` everywhere: where background is the most probable class of every pixel,
    each iteration only strengthens it, so the labels are those that the CRF would give.

    Parameters
    ----------
    image
        (z, y, x), single channel, normalised.
    probabilities
        (class, z, y, x), class 0 is background; sums to one over classes.
    spacing
        In mm, (z, y, x).
    settings
        Widths and weights of the kernels, and the number of iterations.

    Returns
    -------
    array
        (class, z, y, x), float32; sums to one over classes.

    Raises
    ------
    InputError
        Wrong shapes, or values that are not finite or not probabilities.
    """
    _check_spacing(spacing)
    _check_crf_input(image, probabilities)
    refined = probabilities.astype(np.float32)
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
    """Close a label map (z, y, x) in 3-D, hierarchically: first the union of all structures, then some of them.

    Chen et al. 2019, section 2.3: dilation and erosion of the union, then of the myocardium and of the left ventricle
    separately, which is `order` = their labels. The structuring element is the ellipsoid of half-axes `radius_mm`; an
    axis on which the radius is below one voxel is left alone. Background is taken to go on around the volume, which
    removes nothing at its edge. Where the radius reaches the next slice, a structure's first and last slices are open
    to the tip of the ellipsoid from beyond, so little is filled there; a z radius below the slice distance closes each
    slice by itself.

    - The union. A voxel that the closing adds gets the label of the nearest voxel of a structure, in mm.
    - The labels of `order`, each after the other, from the enclosing structure to the enclosed one. A closing never
      leaves the closed union, and never takes a voxel of a label later in `order`: a ring of myocardium does not
      swallow a small cavity. The first label may take anything else. A later label may take only voxels of which the
      four neighbours in the slice belong to labels of `order` as well: a cavity grows into the wall around it, but
      never through it to another structure or to the background.

    With `keep_largest`, an addition to the paper, only the largest face-connected component of the closed union is
    kept: pieces of a heart that the closing joins stay. Without, the union never shrinks, and smoothing twice is
    smoothing once.

    Parameters
    ----------
    labels
        (z, y, x), integers, 0 is background.
    spacing
        In mm, (z, y, x).
    settings
        Radius of the closing, the labels to close in their order, and whether pieces are removed.

    Returns
    -------
    array
        (z, y, x), same type; only labels that were there.

    Raises
    ------
    InputError
        Labels that are not a volume of integers from 0, or an impossible spacing.
    """
    _check_spacing(spacing)
    _check_smooth_input(labels)
    result = labels.copy()
    if not result.any():
        return result
    # A closing stays within the bounding box of what it closes.
    box = ndimage.find_objects((result > 0).astype(np.uint8))[0]
    region = result[box]  # a view: what is written here is written to the result

    nearest = ndimage.distance_transform_edt(region == 0, sampling=spacing, return_distances=False, return_indices=True)
    union = _close(region > 0, spacing, settings.radius_mm)
    if settings.keep_largest:
        union = _largest_component(union)
        region[~union] = 0
    region[union] = region[tuple(nearest)][union]

    allowed = union
    for position, label in enumerate(settings.order):
        later = np.isin(region, settings.order[position + 1 :])
        region[_close(region == label, spacing, settings.radius_mm) & allowed & ~later] = label
        if position == 0:
            allowed = ndimage.binary_erosion(np.isin(region, settings.order), IN_SLICE_NEIGHBOURS)
    return result


def _close(mask: np.ndarray, spacing: tuple[float, float, float], radius_mm: tuple[float, float, float]) -> np.ndarray:
    """Close by an ellipsoid, as two thresholded distance transforms: their cost does not grow with the radius."""
    if not mask.any():
        return mask
    # In units of the radius the ellipsoid is the unit ball. An axis with a radius of zero gets a step far beyond it.
    step = [size / max(radius, 1e-3 * size) for size, radius in zip(spacing, radius_mm, strict=True)]
    # Room for the dilation and, beyond it, background to erode from.
    margin = [int((1 + ROUNDING) / length) + 1 for length in step]
    padded = np.pad(mask, [(width, width) for width in margin])
    dilated = ndimage.distance_transform_edt(~padded, sampling=step) <= 1 + ROUNDING
    closed: np.ndarray = ndimage.distance_transform_edt(dilated, sampling=step) > 1 + ROUNDING
    return closed[tuple(slice(width, -width) for width in margin)]


def _largest_component(mask: np.ndarray) -> np.ndarray:
    components, count = ndimage.label(mask)
    return components == 1 + np.argmax(np.bincount(components.ravel(), minlength=2)[1:]) if count else mask


def _check_spacing(spacing: tuple[float, float, float]) -> None:
    if len(spacing) != 3 or not all(np.isfinite(size) and size > 0 for size in spacing):
        raise InputError(f"The spacing must be three positive numbers (z, y, x) in mm, not {spacing}.")


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
