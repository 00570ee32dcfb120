"""Images that a user names, wherever they are: found, read, and what is made of them written in their own geometry."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cardioseg import volumes
from cardioseg.errors import InputError
from cardioseg.volumes import Volume

SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Image:
    """A raw image, and the file that it was read from."""

    path: Path
    volume: Volume


def find(arguments: Iterable[Path | str]) -> dict[str, Path]:
    """The images that files and folders hold, by names that tell them apart; of a folder all NIfTI files below it.

    The names are the files', without suffix; where two files are called alike, all are named by their paths below the
    folder that they share. Raises InputError for what does not exist, and a folder without images.
    """
    paths = list(dict.fromkeys(path for argument in arguments for path in _images(Path(argument))))
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
    """Read an image. Raises InputError for one that cannot be used: see `volumes.read_image`."""
    return Image(path, volumes.read_image(path))


def write_labels(path: Path, labels: np.ndarray, codes: Mapping[str, int], image: Image) -> Path:
    """Write labels (z, y, x; 1, 2, ... as in `codes`) of an image; a suffix is added to the path, which is returned."""
    path = path.with_name(f"{path.name}.nii.gz")
    volumes.write_labels_like(path, labels, codes, image.path)
    return path


def write_map(path: Path, array: np.ndarray, image: Image) -> Path:
    """Write an array (z, y, x; float32) of an image, as `write_labels` does."""
    path = path.with_name(f"{path.name}.nii.gz")
    volumes.write_like(path, array, image.path)
    return path


def _images(argument: Path) -> list[Path]:
    if not argument.exists():
        raise InputError(f"{argument}: no such file or folder; expected NIfTI images (.nii or .nii.gz).")
    argument = argument.absolute()
    if argument.is_file():
        return [argument]
    found = sorted(
        path for path in argument.rglob("*") if path.name.endswith(SUFFIXES) and not path.name.startswith(".")
    )
    if not found:
        raise InputError(f"{argument}: no image in this folder; expected NIfTI images (.nii or .nii.gz).")
    return found


def _without_suffix(name: str) -> str:
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name
