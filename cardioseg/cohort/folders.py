"""What lies in folders: their files, those behind links too, and which of them are DICOM."""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

PREAMBLE = 128
# An element's value representation (PS3.5 6.2) or, where that is implicit, a length that a first element may have.
REPRESENTATIONS = frozenset((b"AE", b"AS", b"CS", b"DA", b"DT", b"LO", b"OB", b"SH", b"TM", b"UI", b"UL", b"US", b"UN"))
LONGEST_FIRST_ELEMENT = 1024


def walk(
    folder: Path, unreadable: Callable[[OSError], object], without: Path | None = None
) -> Iterator[tuple[Path, list[str]]]:
    """List the files of a folder and of all folders below it.

    Parameters
    ----------
    folder : Path
        The folder.
    unreadable : callable
        Is called with the error where a folder cannot be listed.
    without : Path, optional
        A folder to leave out with all below it.

    Yields
    ------
    tuple of (Path, list of str)
        A folder and the names of its files in order. Hidden files and folders are left out. Links to folders are
        followed; a folder that is reached twice counts once.
    """
    visited = {os.path.realpath(without)} if without else set()
    for parent, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        if os.path.realpath(parent) in visited:
            folders.clear()
            continue
        visited.add(os.path.realpath(parent))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # macOS puts a hidden file "._name" beside every file of an archive.
        yield Path(parent), sorted(name for name in names if not name.startswith("."))


def is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM: it has "DICM" after 128 bytes (PS3.10 7.1), or starts with an element.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bool
        False for a file that cannot be read, and for what is no regular file, too.
    """
    if not path.is_file():  # a pipe would have it wait
        return False
    try:
        with path.open("rb") as file:
            start = file.read(PREAMBLE + 4)
    except OSError:
        return False
    if start[PREAMBLE:] == b"DICM":
        return True
    if len(start) < PREAMBLE + 4:
        return False
    group, element, representation, length = struct.unpack("<HH2sH", start[:8])
    explicit = representation in REPRESENTATIONS
    implicit = int.from_bytes(start[4:8], "little") <= LONGEST_FIRST_ELEMENT and length == 0
    return group in (2, 8) and element < 0x100 and (explicit or implicit)
