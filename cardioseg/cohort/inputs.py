"""Images that a user names: finding and reading them, and writing results in their geometry."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cardioseg.core import volumes
from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume

if TYPE_CHECKING:
    from cardioseg.cohort.dicom import Series

SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Image:
    """A raw image, the file or folder that it was read from, and its DICOM series if it has one."""

    path: Path
    volume: Volume
    series: "Series | None" = None


def find(arguments: Iterable[Path | str], out: Path | None = None) -> dict[str, Path]:
    """Find the images that files and folders hold.

    A folder stands for all NIfTI files below it or, if there are none, for the DICOM series in it. An image is named
    after its file or folder, without suffix. If two names are equal, all images are named by their paths below the
    common folder.

    Parameters
    ----------
    arguments : iterable of Path or str
        Files and folders.
    out : Path, optional
        The folder to write to. Nothing in it is an image.

    Returns
    -------
    dict of str to Path
        The images by name.

    Raises
    ------
    InputError
        A path does not exist or lies in `out`, a folder has no images, or a folder holds both NIfTI and DICOM.
    """
    results = None if out is None else out.resolve()
    paths = list(dict.fromkeys(path for argument in arguments for path in _images(Path(argument), results)))
    names = [_without_suffix(path.name) for path in paths]
    if len(set(names)) < len(names):
        shared = os.path.commonpath([path.parent for path in paths])
        names = [_without_suffix(path.relative_to(shared).as_posix()) for path in paths]
    if len(set(names)) < len(names):
        raise InputError(
            f"{next(name for name in names if names.count(name) > 1)}.nii exists twice, once as .nii.gz; keep one."
        )
    return dict(zip(names, paths, strict=True))


def read(path: Path) -> Image:
    """Read an image (see `volumes.read_image` and `dicom.read_series`).

    Parameters
    ----------
    path : Path
        A NIfTI file, or a DICOM file or folder.

    Returns
    -------
    Image
        The image.

    Raises
    ------
    InputError
        The image cannot be used, or the packages for DICOM are not installed.
    """
    if not path.is_dir() and not _is_dicom(path):
        return Image(path, volumes.read_image(path))
    try:
        from cardioseg.cohort import dicom
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path}: is DICOM, for which {error.name} is missing; install pydicom, highdicom and python-gdcm."
        ) from error
    series = dicom.read_series(path)
    return Image(path, series.volume, series)


def write_labels(path: Path, labels: np.ndarray, codes: Mapping[str, int], image: Image) -> Path:
    """Write the labels of an image as NIfTI in the image's geometry.

    Parameters
    ----------
    path : Path
        The file without suffix.
    labels : ndarray of uint8, shape (z, y, x)
        0 is background, and 1, 2, ... are the structures in the order of `codes`.
    codes : mapping of str to int
        The value of each structure in the file.
    image : Image
        The image.

    Returns
    -------
    Path
        The file with its suffix.
    """
    path = path.with_name(f"{path.name}.nii.gz")
    if image.series is None:
        volumes.write_labels_like(path, labels, codes, image.path)
    else:
        volumes.write(path, volumes.encoded(labels, codes), image.volume.affine)
    return path


def write_map(path: Path, array: np.ndarray, image: Image) -> Path:
    """Write a map (z, y, x; float32) of an image, as `write_labels` does."""
    path = path.with_name(f"{path.name}.nii.gz")
    if image.series is None:
        volumes.write_like(path, array, image.path)
    else:
        volumes.write(path, array, image.volume.affine)
    return path


def write_for_archive(path: Path, labels: np.ndarray, structures: Iterable[str], image: Image) -> None:
    """Write labels as a DICOM segmentation if the image is a DICOM series; arguments as of `write_labels`."""
    if image.series is not None:
        from cardioseg.cohort import dicom

        dicom.write_segmentation(path.with_name(f"{path.name}.dcm"), labels, structures, image.series)


def _images(argument: Path, results: Path | None) -> list[Path]:
    """Return the images that an argument stands for, without those below `results`."""
    if not argument.exists():
        raise InputError(f"{argument}: no such file or folder; expected NIfTI images (.nii or .nii.gz) or DICOM.")
    if results and argument.resolve().is_relative_to(results):
        raise InputError(
            f"{argument}: lies in {results}, the folder to write to, which holds results only. Write to another folder."
        )
    # Names of results must not lead out of their folder.
    argument = argument.resolve() if ".." in argument.parts else argument.absolute()
    if argument.is_file():
        return [argument]
    inside = sorted(path for path in argument.rglob("*") if not (results and path.resolve().is_relative_to(results)))
    found = [path for path in inside if path.name.endswith(SUFFIXES) and not path.name.startswith(".")]
    series = next((path for path in inside if path.is_file() and _is_dicom(path)), None)
    if found and series:
        raise InputError(
            f"{argument}: holds NIfTI ({found[0].relative_to(argument)}) and DICOM ({series.relative_to(argument)}); "
            "expected one of them. Name the NIfTI files, or the folder of the DICOM series alone."
        )
    if series:
        return [argument]
    if not found:
        raise InputError(f"{argument}: no image in this folder; expected NIfTI images (.nii or .nii.gz) or DICOM.")
    return found


def _is_dicom(path: Path) -> bool:
    """Return whether a file of any name is DICOM: "DICM" after 128 bytes (PS3.10 7.1)."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _without_suffix(name: str) -> str:
    for suffix in (*SUFFIXES, ".dcm"):
        name = name.removesuffix(suffix)
    return name
