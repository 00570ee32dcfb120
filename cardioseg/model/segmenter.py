"""A trained model to be used from Python: images of any kind in, masks of the same kind out."""

import math
import tempfile
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
import torch

from cardioseg.cohort import inputs
from cardioseg.core import devices
from cardioseg.core.errors import InputError
from cardioseg.model import assessment, segmentation, trained_model
from cardioseg.model.assessment import Assessment
from cardioseg.model.trained_model import TrainedModel

Picture = str | Path | nib.nifti1.Nifti1Image | sitk.Image | np.ndarray


@dataclass(frozen=True)
class Segmented:
    """What was found in an image.

    Attributes
    ----------
    mask : nibabel.Nifti1Image or SimpleITK.Image or ndarray
        The structures by their codes, of the kind and in the geometry of the image; of a path, as nibabel's.
    labels, entropy : ndarray
        (z, y, x): 0 background, 1, 2, ... the model's structures in their order; and the uncertainty from 0 to 1.
    assessment : Assessment
        Quantities, scar and segments, and whether a person should look at the result.
    """

    mask: Any
    labels: np.ndarray
    entropy: np.ndarray
    assessment: Assessment


@dataclass(frozen=True)
class Segmenter:
    """A trained model on a device, as `load_model` returns it.

    Attributes
    ----------
    model : TrainedModel
        The model.
    device : torch.device
        Where its networks compute.
    """

    model: TrainedModel
    device: torch.device

    @property
    def structures(self) -> dict[str, int]:
        """Return the code of each structure in a mask."""
        return self.model.structures

    def segment(self, image: Picture, spacing: tuple[float, float, float] | None = None) -> Segmented:
        """Segment an image of the target modality.

        Parameters
        ----------
        image : str or Path or nibabel.Nifti1Image or SimpleITK.Image or ndarray
            A NIfTI file or the folder of a DICOM series, an image in memory, or an array (z, y, x) of intensities. An
            array says nothing of how the slices lie in the patient, so that it has no segments.
        spacing : tuple of float, optional
            Voxel size of an array in mm, (z, y, x); other images know their own.

        Returns
        -------
        Segmented
            What was found.

        Raises
        ------
        InputError
            The image cannot be used, or a spacing is missing or not expected.
        """
        if isinstance(image, np.ndarray) != (spacing is not None):
            raise InputError("expected a spacing (mm; z, y, x) with an array, and with nothing else")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(image) if isinstance(image, str | Path) else _as_file(image, spacing, Path(folder))
            try:
                given = inputs.read(path)
                found = segmentation.segment(given.volume, self.model, self.device)
            except InputError as error:
                raise InputError(str(error).replace(f"{folder}/image.nii", "the image")) from error
            stored: Any = nib.load(inputs.write_labels(Path(folder) / "mask", found.labels, self.structures, given))
            mask = type(stored)(np.asarray(stored.dataobj), stored.affine, stored.header)
        return Segmented(
            mask=_of_the_kind(mask, image),
            labels=found.labels,
            entropy=found.entropy,
            assessment=assessment.assess(given.volume, found, self.model),
        )


def load_model(path: Path | str, device: str = "auto") -> Segmenter:
    """Load a trained model to segment images with.

    Parameters
    ----------
    path : Path or str
        The file `model/ensemble.pt` of a workflow, or the folder of results that holds it.
    device : str
        `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`, ...

    Returns
    -------
    Segmenter
        The model, whose method `segment` takes images.

    Raises
    ------
    InputError
        There is no model, or no such device.
    """
    return Segmenter(trained_model.load(path), devices.choose_any(device, "device"))


def _as_file(image: Picture, spacing: tuple[float, float, float] | None, folder: Path) -> Path:
    """Write an image as NIfTI, so that it is read and checked as any other."""
    path = folder / "image.nii"
    if isinstance(image, sitk.Image):
        sitk.WriteImage(image, str(path))
    elif isinstance(image, np.ndarray):
        if image.dtype.kind not in "iuf" or image.ndim != 3:
            raise InputError(f"the image: is an array of {image.dtype} {image.shape}; expected numbers (z, y, x)")
        if image.shape[0] > min(image.shape[1:]):  # as a file, its shortest axis would be taken for that of the slices
            raise InputError(
                f"the image: is an array {image.shape} (z, y, x), of more slices than rows or columns; expected fewer. "
                "Put the axis of the slices first, or leave slices beyond the heart out."
            )
        if spacing is None or len(spacing) != 3 or not all(0 < size < math.inf for size in spacing):
            raise InputError(f"the image's spacing: is {spacing}; expected three lengths in mm (z, y, x)")
        stored = nib.Nifti1Image(image.T.astype(np.float32), None)
        stored.header.set_zooms(spacing[::-1])
        nib.save(stored, path)
    elif isinstance(image, nib.nifti1.Nifti1Image):
        nib.save(copy(image), path)  # which would change where the image itself says that it lies
    else:
        raise InputError(
            f"an image of type {type(image).__name__} cannot be used; expected a path, nibabel's or SimpleITK's image, "
            "or an array with its spacing"
        )
    return path


def _of_the_kind(mask: nib.nifti1.Nifti1Image, image: Picture) -> Any:
    """The mask as an image of the kind that was given."""
    codes = np.asarray(mask.dataobj).T
    if isinstance(image, np.ndarray):
        return codes
    if isinstance(image, sitk.Image):
        found = sitk.GetImageFromArray(codes.reshape(image.GetSize()[::-1]), isVector=False)  # which may have one frame
        found.CopyInformation(image)
        return found
    return mask
