"""Registration of a patient's source labels to the target image: the baseline of the paper's Table 1.

elastix maximises mutual information by a rigid, then an affine, then a free-form deformation (paper 3.2).

References
----------
S. Klein et al.: elastix, IEEE Trans Med Imaging 2010;29:196-205.
D. Rueckert et al.: Nonrigid registration using free-form deformations, IEEE Trans Med Imaging 1999;18:712-721.
"""

import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import ndimage

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume

# elastix's name for the transform of each stage. Each stage starts from the result of the one before.
TRANSFORMS = {"rigid": "EulerTransform", "affine": "AffineTransform", "deformable": "BSplineTransform"}
STAGES = ("none", *TRANSFORMS)
# elastix's smoothing needs this many voxels along every axis.
MINIMAL_SLICES = 4
# In voxels: more than coordinates in single precision are wrong by.
ROUNDING = 1e-4
# NIfTI's axes point right, anterior and superior, ITK's left, posterior and superior.
TO_ITK = np.array([-1.0, -1.0, 1.0])


def propagate(
    fixed: Volume, moving: Volume, labels: Volume, settings: Mapping[str, Any], seed: int, last: str = STAGES[-1]
) -> dict[str, np.ndarray]:
    """Carry labels from the moving image to the grid of the fixed image.

    Each voxel takes the label of the nearest voxel of the moving image, and background outside of it. Only a box around
    the labels is registered and labelled, which is `margin_mm` wider than the labels in scanner coordinates.

    Parameters
    ----------
    fixed, moving : Volume of shape (z, y, x)
        Images of one patient, in the same scanner coordinates.
    labels : Volume of uint8, shape (z, y, x)
        Labels on the moving image's grid.
    settings : mapping
        The section `registration` of the configuration.
    seed : int
        Seed of the random samples that the metric is computed on.
    last : str
        The last of `STAGES` to go through.

    Returns
    -------
    dict of str to ndarray of uint8, shape (z, y, x)
        Labels on the fixed image's grid after each of `STAGES`. The stage `none` uses scanner coordinates alone.

    Raises
    ------
    InputError
        The labels do not reach the fixed image, or elastix fails.
    """
    shape = fixed.array.shape
    where = box(carry(labels, positions(fixed)) > 0, fixed.spacing, settings["margin_mm"])
    around = box(labels.array > 0, moving.spacing, 2 * settings["margin_mm"])
    if where is None or around is None:
        raise InputError(
            "the labels lie outside of the other image in scanner coordinates, so nothing can be registered. Expected "
            "two images of one examination; look at both in a viewer, and correct the headers or leave out the source "
            "image."
        )
    region = cut(fixed, where)
    points = positions(region)
    carried = {"none": carry(labels, points)}
    stages = STAGES[1 : 1 + STAGES.index(last)]
    for stage, displacement in displacements(region, cut(moving, around), settings, seed, stages).items():
        carried[stage] = carry(labels, points + displacement)
    return {stage: _pasted(part, where, shape) for stage, part in carried.items()}


def check_installed() -> None:
    """Raise InputError where elastix is not installed."""
    _itk()


def positions(volume: Volume) -> np.ndarray:
    """Compute the scanner coordinates of all voxels.

    Parameters
    ----------
    volume : Volume of shape (..., z, y, x)
        The volume.

    Returns
    -------
    ndarray of float64, shape (z, y, x, 3)
        Coordinates in mm, in the order of the affine's rows.
    """
    z, y, x = np.indices(volume.array.shape[-3:], dtype=np.float32)
    return np.stack([x, y, z], axis=-1) @ volume.affine[:3, :3].T.astype(np.float32) + volume.affine[:3, 3]


def carry(labels: Volume, points: np.ndarray) -> np.ndarray:
    """Look up labels at scanner coordinates.

    Parameters
    ----------
    labels : Volume of shape (z, y, x)
        The labels.
    points : ndarray of shape (..., 3)
        Scanner coordinates in mm.

    Returns
    -------
    ndarray of shape (...)
        Labels of the nearest voxels, 0 outside of the volume.
    """
    inverse = np.linalg.inv(labels.affine)
    # Halfway, or as near to it as rounding leads, it is the next voxel. Rounded to even, even slices would be three
    # times as thick as odd ones; and on oblique grids rounding errors would mix two labels in one slice.
    index = np.floor(points @ inverse[:3, :3].T + inverse[:3, 3] + 0.5 + ROUNDING).astype(np.int64)[..., ::-1]
    inside = ((index >= 0) & (index < labels.array.shape)).all(axis=-1)
    carried = np.zeros(points.shape[:-1], labels.array.dtype)
    carried[inside] = labels.array[tuple(index[inside].T)]
    return carried


def box(mask: np.ndarray, spacing: tuple[float, float, float], margin_mm: float) -> tuple[slice, slice, slice] | None:
    """Find the bounding box of a mask with a margin.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
        The mask.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).
    margin_mm : float
        Margin on all sides in mm, cut off at the volume's edge.

    Returns
    -------
    tuple of slice or None
        The box (z, y, x); None for an empty mask.
    """
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found:
        return None
    margins = [round(margin_mm / size) for size in spacing]
    z, y, x = (
        slice(max(extent.start - margin, 0), min(extent.stop + margin, length))
        for extent, margin, length in zip(found[0], margins, mask.shape, strict=True)
    )
    return z, y, x


def cut(volume: Volume, where: tuple[slice, slice, slice]) -> Volume:
    """Cut a box out of a volume and keep its place in scanner coordinates.

    Parameters
    ----------
    volume : Volume of shape (z, y, x)
        The volume.
    where : tuple of slice
        The box, (z, y, x).

    Returns
    -------
    Volume
        The part in the box.
    """
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [part.start for part in where[::-1]]
    return Volume(volume.array[where], affine)


def displacements(
    fixed: Volume, moving: Volume, settings: Mapping[str, Any], seed: int, stages: Sequence[str] = STAGES[1:]
) -> dict[str, np.ndarray]:
    """Register two images.

    One thread computes, so that equal arguments give equal results. A stack with fewer slices than elastix needs is
    continued by copies of its outer slices.

    Parameters
    ----------
    fixed, moving : Volume of shape (z, y, x)
        The images.
    settings : mapping
        The section `registration` of the configuration.
    seed : int
        Seed of the random samples that the metric is computed on.
    stages : sequence of str
        Those of `STAGES` to go through, from `rigid` on.

    Returns
    -------
    dict of str to ndarray, shape (z, y, x, 3)
        By stage, the displacement of each voxel of the fixed image into the moving image, in mm of scanner coordinates.
        It includes the earlier stages.

    Raises
    ------
    InputError
        elastix fails or is not installed, or one of the images has a single grey value.
    """
    if not stages:
        return {}
    if any(image.array.min() == image.array.max() for image in (fixed, moving)):
        # elastix would crash.
        raise InputError(
            "one of the two images has a single grey value around the labels, so nothing can be registered."
        )
    (fixed, own), (moving, _) = _thick_enough(fixed), _thick_enough(moving)
    method = _itk().elastix.itkElastixRegistrationMethodIF3IF3_New()
    method.SetFixedImage(_image(fixed))
    method.SetMovingImage(_image(moving))
    method.SetParameterObject(_parameters([elastix_parameters(stage, settings, seed) for stage in stages]))
    method.SetNumberOfThreads(1)
    method.LogToConsoleOff()
    try:
        method.UpdateLargestPossibleRegion()
    except RuntimeError as error:
        # What elastix raises refers to a log that is not written.
        raise InputError(
            "elastix cannot register the two images; mostly they overlap too little around the labels. Look at both in "
            "a viewer. If they show the same structures in the same place, widen registration.margin_mm; otherwise "
            "correct the headers or leave out the source image."
        ) from error
    found = method.GetTransformParameterObject()
    maps = [found.GetParameterMap(index) for index in range(len(stages))]
    return {stage: _displacement(moving, maps[: index + 1])[own] for index, stage in enumerate(stages)}


def elastix_parameters(stage: str, settings: Mapping[str, Any], seed: int) -> dict[str, list[str]]:
    """Return the parameters of one stage, as elastix names and writes them.

    Images are neither reduced in size nor smoothed across slices.

    Parameters
    ----------
    stage : one of 'rigid', 'affine', 'deformable'
        The stage.
    settings : mapping
        The section `registration` of the configuration.
    seed : int
        Seed of the random samples that the metric is computed on.

    Returns
    -------
    dict of str to list of str
        Values by parameter.
    """
    sigmas = settings["smoothing_mm"]
    parameters: dict[str, Any] = {
        "Registration": "MultiResolutionRegistration",
        "FixedInternalImagePixelType": "float",
        "MovingInternalImagePixelType": "float",
        "FixedImageDimension": 3,
        "MovingImageDimension": 3,
        "UseDirectionCosines": "true",
        "FixedImagePyramid": "FixedGenericImagePyramid",
        "MovingImagePyramid": "MovingGenericImagePyramid",
        "NumberOfResolutions": len(sigmas),
        "ImagePyramidRescaleSchedule": [1] * 3 * len(sigmas),
        # elastix refuses 0. A tenth of a millimetre does not change the slices.
        "ImagePyramidSmoothingSchedule": [value for sigma in sigmas for value in (sigma, sigma, 0.1)],
        "Interpolator": "LinearInterpolator",
        "ResampleInterpolator": "FinalLinearInterpolator",
        "Resampler": "DefaultResampler",
        "Transform": TRANSFORMS[stage],
        "HowToCombineTransforms": "Compose",
        "AutomaticTransformInitialization": "false",
        "AutomaticScalesEstimation": "true",
        "Metric": "AdvancedMattesMutualInformation",
        "NumberOfHistogramBins": settings["bins"],
        "ImageSampler": "RandomCoordinate",
        "NumberOfSpatialSamples": settings["samples"],
        "NewSamplesEveryIteration": "true",
        "RequiredRatioOfValidSamples": 0.05,
        "Optimizer": "AdaptiveStochasticGradientDescent",
        "MaximumNumberOfIterations": settings["iterations"],
        "RandomSeed": seed % 2**31,
        "WriteResultImage": "false",
    }
    if stage == "deformable":
        parameters |= {
            "FinalGridSpacingInPhysicalUnits": [settings["grid_mm"]] * 3,
            "GridSpacingSchedule": [1] * 3 * len(sigmas),
        }
    return {
        name: [str(item) for item in (value if isinstance(value, list) else [value])]
        for name, value in parameters.items()
    }


@cache
def _itk() -> SimpleNamespace:
    """Import ITK and its modules for elastix one by one, which takes a fraction of the time of the whole package."""
    try:
        import itk
    except ImportError as error:
        raise InputError("registration needs ITK with elastix; install the package itk-elastix.") from error
    from itk.support import helpers

    # If torch is installed, ITK loads it to accept tensors, which nothing here passes. That takes seconds of every job.
    helpers._HAVE_TORCH = False
    import itk.elxParameterObjectPython as parameter_objects
    import itk.itkElastixRegistrationMethodPython as elastix
    import itk.itkTransformixFilterPython as transformix

    return SimpleNamespace(itk=itk, parameter_objects=parameter_objects, elastix=elastix, transformix=transformix)


def _thick_enough(volume: Volume) -> tuple[Volume, slice]:
    """Pad a volume to MINIMAL_SLICES by copies of its outer slices; return it and where its own slices are."""
    slices = len(volume.array)
    missing = max(0, MINIMAL_SLICES - slices)
    before = missing // 2
    array = np.pad(volume.array, ((before, missing - before), (0, 0), (0, 0)), mode="edge")
    affine = volume.affine.copy()
    affine[:3, 3] -= before * affine[:3, 2]
    return Volume(array, affine), slice(before, before + slices)


def _displacement(moving: Volume, maps: list[Any]) -> np.ndarray:
    method = _itk().transformix.itkTransformixFilterIF3_New()
    method.SetMovingImage(_image(moving))
    method.SetTransformParameterObject(_parameters(maps))
    method.SetComputeDeformationField(True)
    method.LogToConsoleOff()
    # transformix also writes the field to a file.
    with tempfile.TemporaryDirectory() as folder:
        method.SetOutputDirectory(folder)
        method.UpdateLargestPossibleRegion()
        return _itk().itk.array_from_image(method.GetOutputDeformationField()) * TO_ITK


def _parameters(maps: list[Any]) -> Any:
    parameters = _itk().parameter_objects.elastixParameterObject_New()
    for one in maps:
        parameters.AddParameterMap(one)
    return parameters


def _image(volume: Volume) -> Any:
    itk = _itk().itk
    image = itk.image_from_array(np.ascontiguousarray(volume.array, np.float32))
    spacing = np.array(volume.spacing[::-1])
    image.SetSpacing(spacing.tolist())
    image.SetOrigin((TO_ITK * volume.affine[:3, 3]).tolist())
    image.SetDirection(itk.matrix_from_array(TO_ITK[:, None] * volume.affine[:3, :3] / spacing))
    return image


def _pasted(part: np.ndarray, where: tuple[slice, slice, slice], shape: tuple[int, ...]) -> np.ndarray:
    whole = np.zeros(shape, part.dtype)
    whole[where] = part
    return whole
