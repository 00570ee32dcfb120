"""Files that are there as a whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

# What the system says where no more can be written, whichever file it is.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextmanager
def atomic_write(path: Path | str) -> Iterator[BinaryIO]:
    """Open a file for writing under another name; it takes its own name, replacing an older file, once it is complete.

    The folder is made. Raises OSError that names the file where it cannot be written; then nothing is left of it.
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
        # torch.save hides the reason behind an error of its own.
        reason = error if isinstance(error, OSError) else error.__context__
        if isinstance(reason, OSError) and reason.errno:
            raise OSError(reason.errno, reason.strerror, str(path)) from error
        raise
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write a text as a whole or not at all: see `atomic_write`."""
    with atomic_write(path) as file:
        file.write(text.encode())
