"""Files that are written completely or not at all, and names of files in texts."""

import errno
import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

# The system's errors if there is no room for more.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Those if nothing can be written to any file.
NOT_WRITABLE = (*NO_ROOM, errno.EROFS)


@contextmanager
def atomic_write(path: Path | str) -> Iterator[BinaryIO]:
    """Open a file for writing, so that it appears only once it is complete.

    The content goes to a hidden file beside it, which replaces the file at the end. Missing folders are made.

    Parameters
    ----------
    path : Path or str
        The file; an older one is replaced.

    Yields
    ------
    BinaryIO
        The open file.

    Raises
    ------
    OSError
        The file cannot be written. The error names the path, and no part of the file is left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except Exception as error:
        # torch.save raises an error of its own; the reason is its context.
        reason = error if isinstance(error, OSError) else error.__context__
        if isinstance(reason, OSError) and reason.errno:
            raise OSError(reason.errno, reason.strerror, str(path)) from error
        raise
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write a text in UTF-8, completely or not at all (see `atomic_write`).

    Parameters
    ----------
    path : Path or str
        The file.
    text : str
        The text.
    """
    with atomic_write(path) as file:
        file.write(text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file completely or not at all; if its name ends in .gz, it is compressed without a time stamp.

    Parameters
    ----------
    path : Path
        The file.
    content : bytes
        What it shall hold.
    """
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=1, mtime=0)
    with atomic_write(path) as file:
        file.write(content)


def readable(text: str) -> str:
    """Escape bytes that are no characters, as there are in file names that are not UTF-8.

    Parameters
    ----------
    text : str
        The text.

    Returns
    -------
    str
        The text, which can be written as UTF-8.
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
