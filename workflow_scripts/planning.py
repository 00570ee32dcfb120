"""What the workflow must know before its first job: the cohort, checked."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cardioseg import cohort, files, phantom
from cardioseg.errors import InputError


def phantom_patients(splits: Mapping[str, Any]) -> list[int]:
    """The patients to draw where no data is given: every number that a split names."""
    names = {name for entries in splits.values() for entry in entries for name in cohort.expand(entry)}
    wrong = sorted(name for name in names if not name.isdecimal())
    if wrong:
        raise InputError(
            f"cohort.splits: the phantom has no patient {wrong[0]}, its patients are numbers. Give `data`, or numbers."
        )
    return sorted(map(int, names))


def phantom_files(folder: str, patient: str, like: int) -> list[str]:
    """The phantom's files of a patient, whose modalities are labelled as those of patient `like`."""
    return [
        path.as_posix().replace(f"patient{like}_", f"patient{patient}_")
        for path in phantom.release_files(Path(folder), like).values()
    ]


def plan(config: Mapping[str, Any], check: bool, code: str = "") -> cohort.Cohort:
    """The cohort of a configuration. With `check` every file is read once; what was read is remembered in results.

    code: fingerprint of what checks; what another has checked is checked again. Raises InputError for data
    that cannot be used.
    """
    settings = config["cohort"]
    if config["data"] is None:
        folder = "results/phantom"
        patients = phantom_patients(settings["splits"])
        names = [name for patient in patients for name in phantom_files("", str(patient), like=patient)]
        return cohort.find(folder, names, settings)
    found = cohort.find(config["data"], cohort.relative_files(config["data"]), settings)
    if check:
        memory = Path("results/cohort/checked.json")
        remembered = _remembered(memory, code)
        checked = cohort.check_volumes(found, settings["structures"], remembered)
        if checked != remembered:
            # Results that are only looked at may be read-only.
            with suppress(OSError), files.whole(memory) as file:
                file.write(json.dumps({"code": code, "volumes": checked}, indent=1).encode())
    return found


def check_writable(folder: Path) -> None:
    """Raise InputError unless files can be made in a folder, and in all folders in it, so far as there are any."""
    for path in (folder, *folder.rglob("*/")):
        if path.exists() and not os.access(path, os.W_OK | os.X_OK):
            raise InputError(
                f"{path.absolute()}: cannot be written to; expected a folder for what the workflow makes. Make it "
                "writable, or run elsewhere (--directory)."
            )


def _remembered(memory: Path, code: str) -> dict[str, list[str]]:
    """What the same code has checked; nothing where the memory is damaged."""
    try:
        stored = json.loads(memory.read_text())
        return dict(stored["volumes"]) if stored["code"] == code else {}
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return {}
