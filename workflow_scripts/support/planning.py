"""What the workflow must know before its first job: the checked cohort."""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cardioseg.cohort import plan as cohort_plan
from cardioseg.core import checksums, configuration, files
from cardioseg.core.errors import InputError
from cardioseg.phantoms import heart, scanner
from cardioseg.segmentation import segresnet

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
    names = {name for entries in splits.values() for entry in entries for name in cohort_plan.expand(entry)}
    wrong = sorted(name for name in names if not name.isdecimal() or int(name) == 0)
    if wrong:
        raise InputError(
            f"cohort.splits: the phantom has no patient {wrong[0]}, its patients are numbers from 1. Give "
            "`data`, or numbers."
        )
    return sorted(map(int, names))


def phantom_files(
    folder: str, patient: str, like: int, modalities: Sequence[scanner.Modality] = scanner.MODALITIES
) -> list[str]:
    """The phantom's files of a patient, whose modalities are labelled as those of patient `like`."""
    return [
        path.as_posix().replace(f"patient{like}_", f"patient{patient}_")
        for key, path in heart.release_files(Path(folder), like).items()
        if key.partition("_")[0] in modalities
    ]


def phantom_modalities(found: cohort_plan.Cohort) -> list[scanner.Modality]:
    """Which of the phantom's modalities a cohort on it uses."""
    used = {files.image for files in found.volumes.values()}
    drawn = [heart.release_files(Path(PHANTOM), int(patient)) for _, patient in found.volumes]
    return [modality for modality in scanner.MODALITIES if any(files[modality] in used for files in drawn)]


def plan(config: Mapping[str, Any], check: bool, code: str = "") -> cohort_plan.Cohort:
    """Find the cohort of a configuration, and check its files.

    Each file is read once; the folder of results remembers what was found.

    Parameters
    ----------
    config : mapping
        The configuration.
    check : bool
        Whether the files are checked.
    code : str
        Fingerprint of the code that checks. If it changes, every file is checked again.

    Returns
    -------
    Cohort
        The files that the workflow uses.

    Raises
    ------
    InputError
        Data cannot be used, or a network's package is not installed.
    """
    settings = config["cohort"]
    if config["segmentation"]["network"] == "segresnet":
        segresnet.check_installed()
    if config["data"] is None:
        patients = phantom_patients(settings["splits"])
        names = [name for patient in patients for name in phantom_files("", str(patient), like=patient)]
        return cohort_plan.find(PHANTOM, names, settings)
    found = cohort_plan.find(config["data"], cohort_plan.relative_files(config["data"]), settings)
    if check:
        memory = Path("results/cohort/checked.json")
        remembered, before = _remembered(memory, code)
        codes = {"structures": configuration.structures(config)}
        checked = cohort_plan.check_volumes(found, settings | codes, remembered, config["clinical"])
        if checked != remembered:
            paths = [path for volume in found.volumes.values() for path in (volume.image, volume.labels) if path]
            now = checksums.sha256(paths)
            _check_times(before, now, memory)
            # The folder of results may be read-only.
            with suppress(OSError), files.atomic_write(memory) as file:
                file.write(json.dumps({"code": code, "volumes": checked, "checksums": now}, indent=1).encode())
        oddities = [note for key, notes in checked.items() if key not in remembered for note in notes]
        return replace(found, oddities=oddities)
    return found


def check_writable(folder: Path) -> None:
    """Raise InputError if the folder, or a folder in it, exists and is not writable."""
    for path in (folder, *folder.rglob("*/")):
        if path.exists() and not os.access(path, os.W_OK | os.X_OK):
            raise InputError(
                f"{path.absolute()}: cannot be written to; expected a writable folder for results. Make it "
                "writable, or run elsewhere (--directory)."
            )


def _check_times(before: Mapping[str, str], now: Mapping[str, str], memory: Path) -> None:
    """Raise InputError for files that changed although their times did not, since Snakemake goes by time."""
    late = memory.stat().st_mtime if memory.exists() else 0
    hidden = [path for path in now if before.get(path, now[path]) != now[path] and Path(path).stat().st_mtime < late]
    if hidden:
        raise InputError(
            "these files have changed, but their times are older than the change, so results of the old files would "
            f"remain. Run: touch {' '.join(map(shlex.quote, hidden))}"
        )


def _remembered(memory: Path, code: str) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return earlier findings of the same code, and the checksums of the files; nothing if the record is damaged."""
    try:
        stored = json.loads(memory.read_text())
        return dict(stored["volumes"]) if stored["code"] == code else {}, dict(stored["checksums"])
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return {}, {}
