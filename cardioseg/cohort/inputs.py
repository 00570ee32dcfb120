"""Images that a user names, wherever they are: found, read, and what is made of them written in their own geometry."""

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
    """A raw image, the file or folder that it was read from, and its DICOM series where it is of one."""

    path: Path
    volume: Volume
    series: "Series | None" = None


def find(arguments: Iterable[Path | str], out: Path | None = None) -> dict[str, Path]:
    """The images that files and folders hold, by names that tell them apart.

    A folder stands for all NIfTI files below it, or, without any, for the DICOM series in it. The names are the files'
    and folders', without suffix; where two are called alike, all are named by their paths below the folder that they
    share. What lies below `out`, the folder to write to, is no image. Raises InputError for what does not exist or lies
    there, a folder without images, and one that holds both NIfTI and DICOM.
    """
    results = None if out is None else out.resolve()
    paths = list(dict.fromkeys(path for argument in arguments for path in _images(Path(argument), results)))
    names = [_without_suffix(path.name) for path in paths]
    if len(set(names)) < len(names):
        shared = os.path.commonpath([path.parent for path in paths])
        names = [_without_suffix(path.relative_to(shared).as_posix()) for path in paths]
    if len(set(names)) < len(names):
        raise InputError(
            f"{next(name for name in names if names.count(name) > 1)}.nii is there twice, once as .nii.gz; keep one."
        )
    return dict(zip(names, paths, strict=True))


def read(path: Path) -> Image:
    """Read an image: see `volumes.read_image` and `dicom.read_series`.

    Raises InputError for one that cannot be used, and for DICOM where the packages that it needs are not installed.
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
    """Write labels (z, y, x; 1, 2, ... as in `codes`) of an image; a suffix is added to the path, which is returned."""
    path = path.with_name(f"{path.name}.nii.gz")
    if image.series is None:
        volumes.write_labels_like(path, labels, codes, image.path)
    else:
        volumes.write(path, volumes.encoded(labels, codes), image.volume.affine)
    return path


def write_map(path: Path, array: np.ndarray, image: Image) -> Path:
    """Write an array (z, y, x; float32) of an image, as `write_labels` does."""
    path = path.with_name(f"{path.name}.nii.gz")
    if image.series is None:
        volumes.write_like(path, array, image.path)
    else:
        volumes.write(path, array, image.volume.affine)
    return path


def write_for_archive(path: Path, labels: np.ndarray, structures: Iterable[str], image: Image) -> None:
    """Write labels, as `write_labels` does, in DICOM beside the series that an image is of; nothing for NIfTI."""
    if image.series is not None:
        from cardioseg.cohort import dicom

        dicom.write_segmentation(path.with_name(f"{path.name}.dcm"), labels, structures, image.series)


def _images(argument: Path, results: Path | None) -> list[Path]:
    """The images that an argument stands for; what lies below `results` is none."""
    if not argument.exists():
        raise InputError(f"{argument}: no such file or folder; expected NIfTI images (.nii or .nii.gz) or DICOM.")
    if results and argument.resolve().is_relative_to(results):
        raise InputError(
            f"{argument}: lies in {results}, the folder to write to, where everything is taken for results. Write to "
            "another folder."
        )
    # A name must not lead out of a folder.
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
    """Whether a file, of whatever name, is DICOM: "DICM" after 128 bytes (PS3.10 7.1)."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _without_suffix(name: str) -> str:
    for suffix in (*SUFFIXES, ".dcm"):
        name = name.removesuffix(suffix)
    return name
