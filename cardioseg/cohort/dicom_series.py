"""Which files of a folder are one MR series in DICOM, and reading a file whatever its header lacks."""

import re
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import pydicom
from pydicom import Dataset

from cardioseg.cohort.folders import PREAMBLE, is_dicom, walk
from cardioseg.core.errors import InputError

# pydicom's errors for files that are damaged, lack a part of an image, or are compressed without a decoder.
UNREADABLE = (
    *(pydicom.errors.InvalidDicomError, pydicom.errors.BytesLengthException, ArithmeticError, AttributeError, EOFError),
    *(IndexError, KeyError, OSError, RuntimeError, TypeError, ValueError, struct.error),
)
EXPLICIT = pydicom.uid.ExplicitVRLittleEndian
# How names of DICOM files end, where they have such an ending at all.
ENDINGS = (".dcm", ".ima", ".dcm.gz", ".ima.gz")
DESCRIBING = ("SeriesNumber", "SeriesDescription")
# What tells the series of a file.
OF_SERIES = ["Modality", "SeriesInstanceUID", "SOPClassUID", "Rows", "NumberOfFrames", *DESCRIBING]


def find(path: Path) -> list[Path]:
    """Find the files of the MR series in a folder, or of the series that a file belongs to.

    Parameters
    ----------
    path : Path
        A folder or a file, see `dicom.read_series`.

    Returns
    -------
    list of Path
        The files of one series, or of several that have one image each.

    Raises
    ------
    InputError
        There is no MR image, there are several series of several images, or a file may have been a slice and cannot be
        read.
    """
    if path.is_file():
        if not is_dicom(path):
            raise InputError(f"{path}: no MR image in DICOM found; expected a short-axis series.")
        if number_of_frames(read(path, ["NumberOfFrames"])) > 1:
            return [path]
    series: dict[str, list[Path]] = {}
    described: dict[str, str] = {}
    images: Counter[str] = Counter()
    others = set()
    foreign = []
    for file in _files(path):
        if not is_dicom(file):
            foreign.append(file)
            continue
        header = read(file, OF_SERIES)
        if is_no_image(header):
            continue
        modality = header.get("Modality") or _modality(header)
        if not modality or "SeriesInstanceUID" not in header:
            lacking = "SeriesInstanceUID" if modality else "Modality"
            raise InputError(
                f"{file}: its header has no {lacking}, so it names no series of MR images. Copy the file again if it "
                "is cut off or damaged; convert the series to NIfTI if an anonymiser has removed that."
            )
        if modality != "MR":
            others.add(modality)
            continue
        series.setdefault(header.SeriesInstanceUID, []).append(file)
        described.setdefault(header.SeriesInstanceUID, _description(header))
        images[header.SeriesInstanceUID] += max(1, number_of_frames(header))
    _check_foreign(foreign, {file.suffix for files in series.values() for file in files})
    if not path.is_dir():
        series = {name: files for name, files in series.items() if path in files}
    if not series:
        seen = f", but {', '.join(sorted(map(str, others)))}" if others else ""
        raise InputError(f"{path}: no MR image in DICOM found{seen}; expected a short-axis series.")
    if len(series) > 1 and any(images[name] > 1 for name in series):
        found = "; ".join(f"{described[name]}: {images[name]} images, {files[0]}" for name, files in series.items())
        raise InputError(
            f"{path}: holds {len(series)} MR series; expected one. Name, in place of the folder, a file of the series "
            f"that you mean: all its images are read. With a file of each, these are {found}."
        )
    return [file for files in series.values() for file in files]


def series_of(path: Path | str) -> str:
    """Read which series a file belongs to.

    Parameters
    ----------
    path : Path or str
        The file.

    Returns
    -------
    str
        The UID of the series, empty if the file names none or is a stack itself.

    Raises
    ------
    InputError
        The file is truncated or damaged.
    """
    header = read(Path(path), ["SeriesInstanceUID", "NumberOfFrames"])
    return "" if number_of_frames(header) > 1 else str(header.get("SeriesInstanceUID") or "")


def is_one_series(folder: Path | str) -> bool:
    """Tell whether a folder stands for one series, as `read_series` expects it.

    Parameters
    ----------
    folder : Path or str
        The folder.

    Returns
    -------
    bool
        False where its files are no series, or several.
    """
    try:
        return bool(find(Path(folder)))
    except InputError:
        return False


def read(file: Path, keywords: list[str] | None = None) -> Dataset:
    """Read a file, or only some attributes of its header.

    Parameters
    ----------
    file : Path
        The file.
    keywords : list of str, optional
        Names of the attributes; by default all are read, and the pixels.

    Returns
    -------
    Dataset
        The header.

    Raises
    ------
    InputError
        The file is truncated or damaged.
    """
    try:
        header = pydicom.dcmread(file, stop_before_pixels=keywords is not None, specific_tags=keywords, force=True)
        if "TransferSyntaxUID" not in header.file_meta:  # a file without a preamble does not name it
            implicit = pydicom.uid.ImplicitVRLittleEndian
            header.file_meta.TransferSyntaxUID = implicit if header.original_encoding[0] else EXPLICIT
        return header
    except UNREADABLE as error:
        raise InputError(f"{file}: cannot be read as DICOM, it is truncated or damaged. Copy it again.") from error


def number_of_frames(header: Dataset) -> int:
    """Return how many frames a file holds by its header.

    Parameters
    ----------
    header : Dataset
        The file's header.

    Returns
    -------
    int
        Their number; 1 where the header does not tell.
    """
    try:
        return int(header.get("NumberOfFrames") or 1)
    except UNREADABLE:
        return 1


def is_no_image(header: Dataset) -> bool:
    """Tell whether a file holds no image, but a directory, raw data, a report or a presentation state.

    The names of the standard classes tell this. The file's own class counts more than that of its meta header, by
    which some raw data claim to be images. A file of a vendor's own class holds no image if it has no matrix size.

    Parameters
    ----------
    header : Dataset
        The file's header.

    Returns
    -------
    bool
        Whether it holds none.
    """
    uids = (header.get("SOPClassUID"), header.file_meta.get("MediaStorageSOPClassUID"))
    kinds = [pydicom.uid.UID(uid) for uid in uids if uid]
    standard = [kind for kind in kinds if not kind.is_private and kind.name != kind]
    if kinds[:1] != standard[:1]:
        return "Rows" not in header and "Modality" in header
    return any("Image" not in kind.name for kind in (standard[:1] if "Rows" in header else standard))


def _files(path: Path) -> list[Path]:
    """All files below a folder, or beside a file; linked folders are followed, each folder once.

    Links whose target is missing are among them: they may have been slices.
    """
    if not path.is_dir():
        found = list(path.parent.iterdir())
    else:
        found = [parent / name for parent, names in walk(path, _unreadable) for name in names]
    return sorted(file for file in found if file.is_file() or (file.is_symlink() and not file.exists()))


def _check_foreign(files: Iterable[Path], suffixes: set[str]) -> None:
    """Raise InputError if a file that is not DICOM may have been a slice: at an end of the stack no gap tells.

    `suffixes` are those of the series' files. A file that has none may be a text, which has no zero bytes.
    """
    for file in files:
        if file.name.startswith("."):  # see `walk`
            continue
        if not file.exists():
            raise InputError(
                f"{file}: is a link to a file that is missing; it may have been a slice. Mend or remove it."
            )
        try:
            with file.open("rb") as opened:
                start = opened.read(PREAMBLE + 4)
        except OSError as error:
            raise InputError(
                f"{file}: cannot be read ({error.strerror}); it may be a slice. Change its permissions or remove it."
            ) from error
        if not start:
            what = "is empty"
        elif not any(start):
            what = "starts with zeros alone and is not DICOM"
        elif file.name.lower().endswith(ENDINGS):
            what = "is not DICOM, or compressed as a file"
        elif len(start) < PREAMBLE + 4 and file.suffix in suffixes and (file.suffix or 0 in start):
            what = "is cut off"
        else:
            continue
        raise InputError(f"{file}: {what}; it may have been a slice. Copy it again or remove it.")


def _unreadable(error: OSError) -> NoReturn:
    raise InputError(
        f"{error.filename}: the folder cannot be read ({error.strerror}). Change its permissions, or name another."
    ) from error


def _modality(header: Dataset) -> str:
    """Return the modality by the image's class, for files that lost the attribute; empty for most classes."""
    kind = header.get("SOPClassUID")
    return "MR" if kind and re.match(r"(Enhanced |Legacy Converted Enhanced )?MR ", kind.name) else ""


def _description(header: Dataset) -> str:
    """Return number and description of a series, as far as its header has them, for a list of series."""
    words = " ".join(str(header.get(name) or "") for name in DESCRIBING).split()
    shown = "".join(letter for letter in " ".join(words) if letter.isprintable())
    return f"series {shown}" if shown else "a series without number"
