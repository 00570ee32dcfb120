"""Labels carried from one image of a patient to another by registration: the baseline of the paper's Table 1.

Mutual information, maximised by elastix: rigid, then affine, then free-form deformation (paper 3.2; Klein et al., IEEE
Trans Med Imaging 2010;29:196-205; Rueckert et al., IEEE Trans Med Imaging 1999;18:712-721).
"""

import tempfile
from collections.abc import Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import ndimage

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume

# elastix's name for the transform of each stage; a stage starts from the one before.
TRANSFORMS = {"rigid": "EulerTransform", "affine": "AffineTransform", "deformable": "BSplineTransform"}
STAGES = ("none", *TRANSFORMS)
# What elastix's smoothing needs along every axis.
MINIMAL_SLICES = 4
# NIfTI's axes point right, anterior and superior, ITK's left, posterior and superior.
TO_ITK = np.array([-1.0, -1.0, 1.0])


def propagate(
    fixed: Volume, moving: Volume, labels: Volume, settings: Mapping[str, Any], seed: int
) -> dict[str, np.ndarray]:
    """Carry labels from the moving image to the grid of the fixed one, by stage of the registration.

    fixed, moving: images (z, y, x) of one patient whose affines share the scanner's coordinates. labels: (z, y, x;
    uint8), on the moving image's grid. settings: the configuration's `registration`. seed: of the metric's samples.

    Returns labels (z, y, x; uint8) on the fixed image's grid after each of `STAGES`; "none" is by scanner coordinates
    alone. Each voxel takes the label of the nearest voxel of the moving image, background where there is none. What
    counts for the metric, and gets labels, is a box around the labels in scanner coordinates, `margin_mm` wider.

    Raises InputError where the labels do not reach the fixed image, or elastix fails.
    """
    shape = fixed.array.shape
    where = box(carry(labels, positions(fixed)) > 0, fixed.spacing, settings["margin_mm"])
    around = box(labels.array > 0, moving.spacing, 2 * settings["margin_mm"])
    if where is None or around is None:
        raise InputError(
            "the labels lie outside of the other image in scanner coordinates: nothing to register. Expected two "
            "images of one examination; look at both in a viewer, and mend the headers or take the labels away."
        )
    region = cut(fixed, where)
    points = positions(region)
    carried = {"none": carry(labels, points)}
    for stage, displacement in displacements(region, cut(moving, around), settings, seed).items():
        carried[stage] = carry(labels, points + displacement)
    return {stage: _pasted(part, where, shape) for stage, part in carried.items()}


def positions(volume: Volume) -> np.ndarray:
    """Scanner coordinates of all voxels: mm (z, y, x, 3), the last axis as the affine's."""
    z, y, x = np.indices(volume.array.shape[-3:], dtype=np.float32)
    return np.stack([x, y, z], axis=-1) @ volume.affine[:3, :3].T.astype(np.float32) + volume.affine[:3, 3]


def carry(labels: Volume, points: np.ndarray) -> np.ndarray:
    """Labels at scanner coordinates (..., 3; mm): those of the nearest voxel, 0 outside the volume."""
    inverse = np.linalg.inv(labels.affine)
    index = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)[..., ::-1]
    inside = ((index >= 0) & (index < labels.array.shape)).all(axis=-1)
    carried = np.zeros(points.shape[:-1], labels.array.dtype)
    carried[inside] = labels.array[tuple(index[inside].T)]
    return carried


def box(mask: np.ndarray, spacing: tuple[float, float, float], margin_mm: float) -> tuple[slice, slice, slice] | None:
    """Bounding box of a mask (z, y, x), wider by a margin on all sides within the volume; None for an empty mask."""
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
    """Cut a box out of a volume (z, y, x), in its place in scanner coordinates."""
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [part.start for part in where[::-1]]
    return Volume(volume.array[where], affine)


def displacements(fixed: Volume, moving: Volume, settings: Mapping[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Register two images (z, y, x) and return, by stage, where each voxel of the fixed one goes in the moving one.

    A displacement is in mm (z, y, x, 3), in scanner coordinates, with all earlier stages in it. One thread computes it,
    so that the same arguments give the same result. A stack of fewer slices than elastix takes is continued by copies
    of its outer ones. Raises InputError where elastix fails.
    """
    (fixed, own), (moving, _) = _thick_enough(fixed), _thick_enough(moving)
    method = _itk().elastix.itkElastixRegistrationMethodIF3IF3_New()
    method.SetFixedImage(_image(fixed))
    method.SetMovingImage(_image(moving))
    method.SetParameterObject(_parameters([elastix_parameters(stage, settings, seed) for stage in TRANSFORMS]))
    method.SetNumberOfThreads(1)
    method.LogToConsoleOff()
    try:
        method.UpdateLargestPossibleRegion()
    except RuntimeError as error:
        raise InputError(
            f"elastix cannot register the two images ({str(error).splitlines()[-1]}). Look at both in a viewer: do "
            "they show the same structures in the same place? Otherwise widen registration.margin_mm."
        ) from error
    found = method.GetTransformParameterObject()
    maps = [found.GetParameterMap(index) for index in range(len(TRANSFORMS))]
    return {stage: _displacement(moving, maps[: index + 1])[own] for index, stage in enumerate(TRANSFORMS)}


def elastix_parameters(stage: str, settings: Mapping[str, Any], seed: int) -> dict[str, list[str]]:
    """One stage's parameters as elastix names and writes them; no image is shrunk, nor smoothed across slices."""
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
        # elastix refuses 0; a tenth of a mm leaves the slices as they are.
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
    """ITK and its modules for elastix, one by one: all that the package would load takes several times as long."""
    import itk
    from itk.support import helpers

    # Where torch is installed ITK loads it, for tensors that nobody passes, which takes seconds of every job.
    helpers._HAVE_TORCH = False
    import itk.elxParameterObjectPython as parameter_objects
    import itk.itkElastixRegistrationMethodPython as elastix
    import itk.itkTransformixFilterPython as transformix

    return SimpleNamespace(itk=itk, parameter_objects=parameter_objects, elastix=elastix, transformix=transformix)


def _thick_enough(volume: Volume) -> tuple[Volume, slice]:
    """A volume of at least MINIMAL_SLICES, in its place, and which slices of it are its own."""
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
    # transformix writes the field to a file as well.
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
