"""What every script does around its work: it logs, and it explains errors to the user."""

import errno
import gc
import logging
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cardioseg.core.errors import InputError
from support import raw_files

# Phrases of torch, CUDA's libraries and numpy for lack of memory.
NO_MEMORY = re.compile(r"out of memory|ALLOC_FAILED|can't allocate memory|Unable to allocate")
# The section of the configuration with a training's batch size.
SECTIONS = {
    "train_localiser": "localisation",
    "train_translation": "translation",
    **dict.fromkeys(
        [
            "pretrain_unet",
            "finetune_unet",
            "pretrain_cascade",
            "finetune_cascade",
            "self_train_unet",
            "self_train_cascade",
        ],
        "segmentation",
    ),
}


@contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Log to the rule's log file and the terminal. Errors that are not faults of the code end with a message only."""
    logging.raiseExceptions = False  # otherwise a full disk gives a traceback for every message
    try:
        path = Path(snakemake.log[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        logging.basicConfig(
            level=logging.INFO,
            format="%(asctime)s %(message)s",
            datefmt="%H:%M:%S",
            handlers=[logging.FileHandler(path, "w"), logging.StreamHandler(sys.stderr)],
            force=True,
        )
        yield
    except KeyboardInterrupt:
        logging.error("%s: interrupted; the same command does this step again", snakemake.rule)
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        tell(error, snakemake)
        sys.exit(1)
    finally:
        gc.freeze()  # otherwise the process's end goes through all that was imported, half a second for torch


def tell(error: Exception, snakemake: Any, of: str = "") -> None:
    """Log an error: of faults that are not the code's the message only. of: what it concerns, before the message."""
    if isinstance(error, InputError | FloatingPointError):
        explanation = str(error)
    elif explanation := _explanation(error, snakemake):
        explanation = f"{snakemake.rule}: {explanation}"
    if explanation:
        logging.error("Error: %s%s", of, raw_files.in_users_terms(explanation, getattr(snakemake, "input", ())))
    else:
        logging.error("%s%s failed", of, snakemake.rule, exc_info=error)


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Put the file's name before the message of an error about its content."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _explanation(error: BaseException, snakemake: Any) -> str:
    """Return advice for an error caused by lack of memory, disk space or permission; empty for any other error."""
    for each in _chain(error):
        if isinstance(each, MemoryError) or NO_MEMORY.search(str(each)):
            return _memory(str(each), snakemake)
        if isinstance(each, OSError) and each.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return (
                f"{each.filename or _some(snakemake.output)}: {each.strerror}. "
                "Make room and run the same command again. Finished steps are kept."
            )
        if isinstance(each, OSError) and each.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return f"{each.filename}: {each.strerror}. Make it accessible and run the same command again."
    return ""


def _some(paths: Sequence[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]}, or another of the step's files"


def _memory(text: str, snakemake: Any) -> str:
    advice = []
    if section := SECTIONS.get(snakemake.rule):
        size = snakemake.config[section]["batch_size"]
        smaller = "raise localisation.spacing_mm" if section == "localisation" else "lower cropping.size"
        advice.append(f"lower {section}.batch_size (now {size})" if size > 1 else smaller)
    if re.search("CUDA|CUBLAS|CUDNN|GPU", text):
        where = "the GPU's memory does not suffice"
        advice += [
            "leave the GPU to one training at a time (--resources gpu=1)",
            "let predictions wait for their turn, too (docs/your_data.md says how)",
            "set compute.device: cpu",
        ]
    else:
        where = "the memory does not suffice"
        advice.append("run fewer jobs at a time (--cores)")
    reason = text.partition("\n")[0].partition(". ")[0] or "no more is free"
    return f"{where} ({reason}). What helps: {', or '.join(advice)}."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all errors that led to it."""
    while error:
        yield error
        error = error.__cause__ or error.__context__
