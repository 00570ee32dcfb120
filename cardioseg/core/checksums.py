"""Telling files apart by their content."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def sha256(paths: Iterable[Path | str]) -> dict[str, str]:
    """Compute the SHA-256 of files.

    Parameters
    ----------
    paths : iterable of Path or str
        The files.

    Returns
    -------
    dict of str to str
        Hexadecimal digits by path.
    """
    found = {}
    for path in paths:
        with Path(path).open("rb") as file:
            found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
