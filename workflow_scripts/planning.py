"""What the workflow must know before its first job: the cohort, checked."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cardioseg import cohort, configuration, phantom
from cardioseg.errors import InputError

PHANTOM = "results/phantom"


def on_mscmrseg(config: Mapping[str, Any]) -> bool:
    """Whether a cohort is the paper's, which its file names and label codes tell: LGE of MS-CMRSeg from its bSSFP."""
    settings = config["cohort"]
    return (
        config["data"] is not None
        and configuration.structures(config) == {"LV": 500, "MYO": 200, "RV": 600}
        and settings["source"]["image"] == "**/patient{patient}_C0.nii.gz"
        and settings["target"]["image"] == "**/patient{patient}_LGE.nii.gz"
    )


def phantom_patients(splits: Mapping[str, Any]) -> list[int]:
    """The patients to draw where no data is given: every number that a split names."""
    names = {name for entries in splits.values() for entry in entries for name in cohort.expand(entry)}
    wrong = sorted(name for name in names if not name.isdecimal())
    if wrong:
        raise InputError(
            f"cohort.splits: the phantom has no patient {wrong[0]}, its patients are numbers. Give `data`, or numbers."
        )
    return sorted(map(int, names))


def phantom_files(
    folder: str, patient: str, like: int, modalities: Sequence[phantom.Modality] = phantom.MODALITIES
) -> list[str]:
    """The phantom's files of a patient, whose modalities are labelled as those of patient `like`."""
    return [
        path.as_posix().replace(f"patient{like}_", f"patient{patient}_")
        for key, path in phantom.release_files(Path(folder), like).items()
        if key.removesuffix("_labels") in modalities
    ]


def phantom_modalities(found: cohort.Cohort) -> list[phantom.Modality]:
    """Which of the phantom's modalities a cohort on it uses."""
    used = {files.image for files in found.volumes.values()}
    drawn = [phantom.release_files(Path(PHANTOM), int(patient)) for _, patient in found.volumes]
    return [modality for modality in phantom.MODALITIES if any(files[modality] in used for files in drawn)]


def plan(config: Mapping[str, Any], check: bool, code: str = "") -> cohort.Cohort:
    """The cohort of a configuration. With `check` every file is read once; what was read is remembered in results.

    code: fingerprint of what checks; what another has checked is checked again. Raises InputError for data
    that cannot be used.
    """
    settings = config["cohort"]
    if config["data"] is None:
        patients = phantom_patients(settings["splits"])
        names = [name for patient in patients for name in phantom_files("", str(patient), like=patient)]
        return cohort.find(PHANTOM, names, settings)
    found = cohort.find(config["data"], cohort.relative_files(config["data"]), settings)
    if check:
        memory = Path("results/cohort/checked.json")
        remembered = _remembered(memory, code)
        checked = cohort.check_volumes(found, configuration.structures(config), remembered)
        if checked != remembered:
            memory.parent.mkdir(parents=True, exist_ok=True)
            aside = memory.with_suffix(".new")
            aside.write_text(json.dumps({"code": code, "volumes": checked}, indent=1))
            aside.replace(memory)
    return found


def _remembered(memory: Path, code: str) -> dict[str, list[str]]:
    """What the same code has checked; nothing where the memory is damaged."""
    try:
        stored = json.loads(memory.read_text())
        return dict(stored["volumes"]) if stored["code"] == code else {}
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return {}
