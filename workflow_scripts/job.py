"""What every script does around its work: logging, and errors that speak to the user."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cardioseg.errors import InputError


@contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Log to the rule's log file and the terminal; end with the message alone where the user's input is at fault."""
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=[logging.FileHandler(path, "w"), logging.StreamHandler(sys.stderr)],
        force=True,
    )
    try:
        yield
    except (InputError, FloatingPointError) as error:
        logging.error("Error: %s", error)
        sys.exit(1)
    except Exception:
        logging.exception("%s failed", snakemake.rule)
        sys.exit(1)


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Put the file's name before the message of an error in what was read from it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
