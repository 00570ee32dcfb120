"""What the workflow must know before its first job: the cohort, checked."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cardioseg import cohort, phantom
from cardioseg.errors import InputError


def phantom_patients(splits: Mapping[str, Any]) -> list[int]:
    """The patients to draw where no data is given: every number that a split names."""
    names = {name for entries in splits.values() for entry in entries for name in cohort.expand(entry)}
    wrong = sorted(name for name in names if not name.isdecimal() or int(name) == 0)
    if wrong:
        raise InputError(
            f"cohort.splits: the phantom has no patient {wrong[0]}, its patients are numbers from 1. Give "
            "`data`, or numbers."
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
        checked = cohort.check_volumes(found, settings, remembered, config["clinical"])
        if checked != remembered:
            memory.parent.mkdir(parents=True, exist_ok=True)
            aside = memory.with_suffix(".new")
            aside.write_text(json.dumps({"code": code, "volumes": checked}, indent=1))
            aside.replace(memory)
        oddities = [note for key, notes in checked.items() if key not in remembered for note in notes]
        return replace(found, oddities=oddities)
    return found


def _remembered(memory: Path, code: str) -> dict[str, list[str]]:
    """What the same code has checked; nothing where the memory is damaged."""
    try:
        stored = json.loads(memory.read_text())
        return dict(stored["volumes"]) if stored["code"] == code else {}
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return {}
