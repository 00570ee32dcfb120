"""Images that a user names: finding and reading them, and writing results in their geometry."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cardioseg.cohort import folders
from cardioseg.core import nifti, volumes
from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume

if TYPE_CHECKING:
    from cardioseg.cohort.dicom import Series

# What is taken for an image in a folder. Files of the other formats are named as not segmented.
IMAGES = (*nifti.SUFFIXES, ".hdr", ".mgz", ".mha", ".mhd", ".mnc", ".nhdr", ".nrrd")
# The folders with images in a folder that `cardioseg segment` wrote to.
WRITTEN = ("masks", "dicom", "rtstruct", "uncertainty", "scar")


@dataclass(frozen=True)
class Image:
    """A raw image, the file or folder that it was read from, and its DICOM series if it has one."""

    path: Path
    volume: Volume
    series: "Series | None" = None


def find(arguments: Iterable[Path | str], out: Path | None = None) -> dict[str, Path]:
    """Find the images that files and folders hold.

    A folder stands for all images below it, also behind links, or for the DICOM series in it. Files of one DICOM series
    stand for one image. What `cardioseg segment` wrote to a folder is no image, and such a folder is named on the
    terminal. Folders that cannot be read, images of other formats and packed files are among what is found, so that
    reading them reports an error. An image is named after its file or folder, without suffix. If two names are equal,
    all images are named by their paths below the common folder.

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
    results = None if out is None else _real(out)
    paths = _one_a_series([path for argument in arguments for path in _images(Path(argument), results)])
    names = [_without_suffix(path.name) for path in paths]
    if len(set(names)) < len(names):
        shared = os.path.commonpath([path.parent for path in paths])
        names = [_without_suffix(path.relative_to(shared).as_posix()) for path in paths]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        alike = " and ".join(str(path) for path, name in zip(paths, names, strict=True) if name == twice)
        raise InputError(f"{alike}: their results would have the same name, {twice}. Give them in separate calls.")
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
    if not path.is_dir() and not folders.is_dicom(path):
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

    Raises
    ------
    InputError
        As in `write_map`.
    """
    return write_map(path, volumes.encoded(labels, codes), image)


def write_map(path: Path, array: np.ndarray, image: Image) -> Path:
    """Write a map of an image as NIfTI in the image's geometry.

    Parameters
    ----------
    path : Path
        The file without suffix.
    array : ndarray of shape (z, y, x)
        The map on the grid of the image.
    image : Image
        The image.

    Returns
    -------
    Path
        The file with its suffix.

    Raises
    ------
    InputError
        The image's own file cannot be read any more, or its shape is another.
    """
    path = path.with_name(f"{path.name}.nii.gz")
    if image.series is None:
        volumes.write_like(path, array, image.path)
    else:
        volumes.write(path, array, image.volume.affine)
    return path


def write_for_archive(
    folder: Path, name: str, labels: np.ndarray, colours: Mapping[str, tuple[int, int, int]], image: Image
) -> list[str]:
    """Write labels as a DICOM segmentation and as an RT structure set if the image is a DICOM series.

    Parameters
    ----------
    folder : Path
        The folder of results. Files are written to its folders `dicom` and `rtstruct`.
    name : str
        Their name without suffix.
    labels : ndarray of uint8, shape (z, y, x)
        0 is background, and 1, 2, ... are the structures in the order of `colours`.
    colours : mapping of str to tuple of int
        The structures' names, with red, green and blue from 0 to 255.
    image : Image
        The image.

    Returns
    -------
    list of str
        Why there are no such files, where the series' headers do not allow them.
    """
    if image.series is None:
        return []
    from cardioseg.cohort import dicom_segmentation, structure_set

    path = folder / "dicom" / f"{name}.dcm"
    try:
        dicom_segmentation.write(path, labels, colours, image.series)
    except InputError as error:
        return [f"no DICOM segmentation and no structure set: {str(error).removeprefix(f'{path}: ')}"]
    structure_set.write(folder / "rtstruct" / f"{name}.dcm", labels, colours, image.series)
    return []


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
    if not argument.is_dir():
        return [argument]
    unreadable: list[Path] = []
    listed = [
        parent / name
        for parent, names in folders.walk(argument, lambda error: unreadable.append(Path(error.filename)))
        for name in names
        if not (results and _real(parent / name).is_relative_to(results))
    ]
    earlier = [path.parent for path in listed if path.name == "results.json" and _tells_of_results(path)]
    for folder in earlier:
        print(f"{folder}: holds results of cardioseg segment, which are passed over", file=sys.stderr, flush=True)
    written = [folder / kind for folder in earlier for kind in WRITTEN]
    inside = [path for path in listed if not any(path.is_relative_to(folder) for folder in written)]
    found = [path for path in inside if path.name.lower().endswith(IMAGES)]
    series = next((path for path in inside if folders.is_dicom(path)), None)
    if found and series:
        raise InputError(
            f"{argument}: holds NIfTI ({found[0].relative_to(argument)}) and DICOM ({series.relative_to(argument)}); "
            "expected one of them. Name the NIfTI files, or the folder of the DICOM series alone."
        )
    if series:
        return [argument]
    if not found and not unreadable:
        raise InputError(
            f"{argument}: no image in this folder; expected NIfTI images (.nii or .nii.gz) or DICOM, not in an archive."
        )
    others = (path for path in inside if not path.name.lower().endswith(IMAGES))
    packed = [path for path in others if path.name.lower().endswith(nifti.PACKED)]
    # A folder that cannot be read fails as an image does, and is named with the others.
    return sorted(found + packed + unreadable)


def _tells_of_results(path: Path) -> bool:
    """Whether a file is the results.json of `cardioseg segment`."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(stored, dict) and {"model_sha256", "images"} <= set(stored)


def _real(path: Path) -> Path:
    """Resolve links; a link to itself, where Path.resolve raises an error, stays as it is."""
    return Path(os.path.realpath(path))


def _one_a_series(paths: Sequence[Path]) -> list[Path]:
    """The images of which `paths` are files: of DICOM files of one series in one folder, the first stands for all.

    A folder of one series that is named as well stands for the files in it. Where every DICOM file of a folder is named
    and each is a series of its own, as scanners make them of breath-holds, the folder stands for them.
    """
    of_folder: dict[Path, dict[str, list[Path]]] = {}
    folders_of_files = {parent for path in paths if path.is_file() for parent in path.parents}
    standing = {path for path in folders_of_files.intersection(paths) if _is_one_series(path)}
    paths = [path for path in paths if not (path.is_file() and standing.intersection(path.parents))]
    for path in paths:
        if path.is_file() and folders.is_dicom(path):
            of_folder.setdefault(path.parent, {}).setdefault(_series(path), []).append(path)
    stand_ins: dict[Path, Path] = {}
    for folder, series in of_folder.items():
        named = [path for files in series.values() for path in files]
        single = len(series) > 1 and all(len(files) == 1 for files in series.values())
        everything = single and not any(
            folders.is_dicom(path) for path in folder.iterdir() if path.is_file() and path not in named
        )
        for files in series.values():
            stand_ins |= dict.fromkeys(files, folder if everything else min(files))
    return list(dict.fromkeys(stand_ins.get(path, path) for path in paths))


def _is_one_series(folder: Path) -> bool:
    try:
        from cardioseg.cohort import dicom_series
    except ModuleNotFoundError:
        return True
    return dicom_series.is_one_series(folder)


def _series(path: Path) -> str:
    """The series that a DICOM file is one image of; a file that is a stack, or cannot be read, is its own."""
    try:
        from cardioseg.cohort import dicom_series

        return dicom_series.series_of(path) or str(path)
    except (ModuleNotFoundError, InputError):
        return str(path)


def _without_suffix(name: str) -> str:
    for suffix in (*nifti.SUFFIXES, ".dcm"):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
    return name
