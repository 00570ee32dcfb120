"""What results were made from, so that another cohort or a forgotten part of the settings does not replace them."""

import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cardioseg.core import checksums, files
from cardioseg.core.errors import InputError

RECORD = Path("results/cohort/made_from.json")


def of(
    config: Mapping[str, Any], contents: Iterable[str], overlays: Sequence[Path], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a call would make results from, as JSON has it.

    contents: checksums of the cohort's files; none of the phantom. overlays: the files of `--configfile`. options: what
    `--config` sets.
    """
    settings = {key: value for key, value in config.items() if key not in ("data", "compute")}
    text = json.dumps(settings, sort_keys=True, default=str)
    return {
        "data": None if config["data"] is None else os.path.realpath(config["data"]),
        "contents": sorted(contents),
        "overlays": {
            "/".join(path.parts[-2:]): content
            for path, content in ((path, checksums.sha256([path])[str(path)]) for path in overlays)
        },
        "options": {key: str(value) for key, value in options.items() if key not in ("data", "compute")},
        "configuration": hashlib.sha256(text.encode()).hexdigest(),
    }


def check(now: Mapping[str, Any]) -> None:
    """Raise InputError if the results are of another cohort, or of settings that this call leaves out.

    A cohort is known by its files, so that it may move and grow. Settings may be changed; but a file or an option that
    made the results must be named again, and files in the same order, since otherwise most of the results would be made
    anew by other settings than were meant.
    """
    try:
        before = json.loads(RECORD.read_text("utf-8"))
        faults = _faults(before, now)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return  # without a record nothing is known
    if faults:
        raise InputError(
            f"{faults} To keep the results, correct the call or run elsewhere (--directory FOLDER). To have them "
            f"replaced, first remove the record of how they were made: rm {shlex.quote(str(RECORD.absolute()))}"
        )


def check_records(folder: Path = Path(".snakemake")) -> None:
    """Raise InputError if there are results without Snakemake's records of what their files were made from.

    Snakemake would take all of them to be up to date, whatever has changed since.
    """
    results = RECORD.parents[1]
    # A run that was killed in its first job has marks of that alone.
    known = any(path for name in ("metadata", "incomplete") for path in (folder / name).glob("*"))
    if RECORD.exists() and not known and any(map(_is_of_a_job, results.rglob("*"))):
        raise InputError(
            f"{results.absolute()}: {folder} beside it has none of Snakemake's records of what each file was made "
            "from, so that a change of settings or code would not be noticed. Move or copy that folder here, too, from "
            "where the results were made; or rename results/, and everything is made anew."
        )


def _is_of_a_job(path: Path) -> bool:
    """Whether a path in results/ is a file that Snakemake has a record of."""
    return path.is_file() and path.parts[1] not in ("cohort", "logs", "benchmarks", ".state")


def write(now: Mapping[str, Any]) -> None:
    """Record what the results are made from."""
    files.write_text(RECORD, json.dumps(now, indent=1) + "\n")


def _faults(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if before["data"] != now["data"] and not set(before["contents"]) & set(now["contents"]):
        if now["data"] is None:
            call = (
                "this call names no data (--config data=FOLDER): it would replace them by those of the digital phantom"
            )
        else:
            call = f"this call would replace them by those of {now['data']}"
        return f"results/ holds the results of {before['data'] or 'the digital phantom'}, and {call}."
    if before["configuration"] == now["configuration"]:
        return ""
    lacking = [
        f"--configfile {name}"
        for name, content in before["overlays"].items()
        if name not in now["overlays"] and content not in now["overlays"].values()
    ]
    lacking += [f"--config {key}={value}" for key, value in before["options"].items() if key not in now["options"]]
    if lacking:
        return (
            f"results/ was made with {', '.join(lacking)}, which this call lacks: it would replace the results by "
            "those of other settings."
        )
    first = [name for name in before["overlays"] if name in now["overlays"]]
    second = [name for name in now["overlays"] if name in before["overlays"]]
    if first != second:
        return (
            f"results/ was made with --configfile {' '.join(first)}, and this call names these files in another order, "
            "where the last overrules the others: it would replace the results by those of other settings."
        )
    return ""
