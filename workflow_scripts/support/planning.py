"""What the workflow must know before its first job: the checked cohort."""

import hashlib
import json
import os
import re
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any, NamedTuple

from cardioseg.cohort import checks
from cardioseg.cohort import plan as cohort_plan
from cardioseg.core import checksums, configuration, files
from cardioseg.core.errors import InputError
from cardioseg.core.turns import AS_STORED, Turn
from cardioseg.phantoms import heart, scanner
from cardioseg.segmentation import segresnet

PHANTOM = "results/phantom"
MEMORY = Path("results/cohort/checked.json")


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
        Data cannot be used, a network's package is not installed, histogram matching would make the
        same image twice, self-training has nobody's source labels to fuse, or, without `check`, the cohort is another
        than those that were checked.
    """
    settings = config["cohort"]
    if config["segmentation"]["network"] == "segresnet":
        segresnet.check_installed()
    predicted = "predicted" in configuration.fused_labels(config)
    if config["data"] is None:
        patients = phantom_patients(settings["splits"])
        names = [name for patient in patients for name in phantom_files("", str(patient), like=patient)]
        found = cohort_plan.find(PHANTOM, names, settings, predicted)
        _check_fused(found, config)
        _check_samples(config, found)
        return found
    # `data` may be the folder that holds results, but results are no data.
    data, results = Path(config["data"]), Path("results")
    within = results.resolve() in (data.resolve(), *data.resolve().parents)
    names = cohort_plan.relative_files(data, without=None if within else results)
    found = cohort_plan.find(data, names, settings, predicted)
    if predicted and not found.partners:
        raise InputError(
            f"fusion.labels: predicted, but no patient of the validation and test splits has a "
            f"{settings['source']['name']} image in {config['data']}; expected files that match "
            f"{settings['source']['image']}. Add them, or leave predicted out."
        )
    _check_fused(found, config)
    _check_samples(config, found)
    turns = _remembered_turns()
    turned = turns.get(_name(found))
    if check:
        remembered, before = _remembered(code)
        codes = {"structures": configuration.structures(config)}
        grids = checks.Grids()
        checked = checks.check_volumes(
            found, settings | codes, remembered, grids, config["clinical"], _witnesses(found, config)
        )
        if checked != remembered or turned is None:
            now = checksums.sha256(map(os.path.realpath, _files(found)))
            _check_times(before, now)
            seen = {path: before.get(path, Seen("", 0)) for path in now}
            known = before | {
                path: seen[path] if seen[path].content == content else Seen(content, time.time())
                for path, content in now.items()
            }
            turned = _turns(found, grids)
            if any(path in before and before[path].content != content for path, content in now.items()):
                turns = {}
            # The folder of results may be read-only.
            with suppress(OSError):
                _remember(code, checked, known, turns | {_name(found): turned})
        oddities = [note for key, notes in checked.items() if key not in remembered for note in notes]
        found = replace(found, oddities=oddities)
    if turned is None and turns:
        raise InputError(
            f"{MEMORY}: has no record of this cohort, whose images have changed or are others since the workflow was "
            "started. Start it again."
        )
    return replace(found, turned=turned or {})


def _witnesses(found: cohort_plan.Cohort, config: Mapping[str, Any]) -> list[str]:
    """Patients whose source labels self-training fuses with predictions."""
    if not (config["self_training"] and config["self_training"]["fused"]):
        return []
    return [patient for patient in found.splits["translation_target"] if patient in found.splits["labelled"]]


def _check_fused(found: cohort_plan.Cohort, config: Mapping[str, Any]) -> None:
    if config["self_training"] and config["self_training"]["fused"] and not _witnesses(found, config):
        raise InputError(
            "self_training.fused: no patient is in cohort.splits.labelled and in translation_target, so nobody's "
            "source labels can be fused; set `fused: false`."
        )


def check_interpreter(path: str) -> None:
    """Raise InputError where the jobs' shell would take the path of Python for several words."""
    if re.search(r"[\s\"'\\$&;()<>|`*?\[\]]", path):
        raise InputError(
            f"{path}: Python's path has a space or another character at which a shell splits it, so that no job would "
            "start. Move the folder to a path without these, and set it up there: make clean, then make .venv/.ready"
        )


def check_writable(folder: Path) -> None:
    """Raise InputError if the folder, or a folder in it, exists and is not writable."""
    for path in (folder, *folder.rglob("*/")):
        _check_writable(path, "results")


def check_records_writable(folder: Path = Path(".snakemake")) -> None:
    """Raise InputError if Snakemake cannot keep its records in the folder, which it makes even where it only plans."""
    _check_writable(folder if folder.exists() else folder.absolute().parent, "Snakemake's records")


def _check_writable(path: Path, of: str) -> None:
    if path.exists() and not os.access(path, os.W_OK | os.X_OK):
        raise InputError(
            f"{path.absolute()}: cannot be written to; expected a writable folder for {of}. Make it "
            "writable, or run elsewhere (--directory)."
        )


def check_sendable(patients: Iterable[str]) -> None:
    """Raise InputError for a patient's name that no job on a cluster can be told: Snakemake splits names at commas."""
    wrong = [patient for patient in patients if "," in patient]
    if wrong:
        raise InputError(
            f"patient {wrong[0]!r}: a name with a comma cannot be sent to a cluster. Rename the files or folders of "
            f"{', '.join(map(repr, wrong))}, or run on one machine."
        )


def contents(found: cohort_plan.Cohort) -> dict[str, str]:
    """Checksums of a cohort's files, as remembered or, where they are not, read."""
    _, known = _remembered("")
    real = {str(path): os.path.realpath(path) for path in _files(found)}
    unknown = checksums.sha256(path for path in real.values() if path not in known)
    return {path: known[name].content if name in known else unknown[name] for path, name in real.items()}


class Seen(NamedTuple):
    """The checksum of a file, and when the file was first seen with it."""

    content: str
    since: float


def _files(found: cohort_plan.Cohort) -> list[Path]:
    return [path for volume in found.volumes.values() for path in (volume.image, volume.labels) if path]


def _check_samples(config: Mapping[str, Any], found: cohort_plan.Cohort) -> None:
    """Raise InputError where histogram matching would make the same image twice."""
    volumes, samples = len(found.splits["translation_target"]), config["synthesis"]["samples"]
    if config["translation"]["method"] == "histogram" and samples > volumes:
        raise InputError(
            f"synthesis.samples: {samples}; expected {volumes} or less: translation.method: histogram makes one image "
            "of a source volume with each target volume, and cohort.splits.translation_target has no more."
        )


def _check_times(before: Mapping[str, Seen], now: Mapping[str, str]) -> None:
    """Raise InputError for files that changed although their times did not: Snakemake goes by time."""
    hidden = [
        path
        for path, content in now.items()
        if path in before and before[path].content != content and Path(path).stat().st_mtime < before[path].since
    ]
    if hidden:
        raise InputError(
            "these files have changed, but their times are older than the change, so results of the old files would "
            f"remain. Run: touch {' '.join(map(shlex.quote, hidden))}"
        )


Turns = dict[tuple[str, str], Turn]


def _turns(found: cohort_plan.Cohort, grids: checks.Grids) -> Turns:
    """The images that are turned, by modality and patient."""
    turns = checks.turns((volume.image for volume in found.volumes.values()), grids)
    of_volumes = {key: turns[volume.image] for key, volume in found.volumes.items()}
    return {key: turn for key, turn in of_volumes.items() if turn and turn != AS_STORED}


def _name(found: cohort_plan.Cohort) -> str:
    """Name a cohort by its images: which of them are turned depends on all of them, see `orientation.usual`."""
    images = sorted([*key, str(files.image)] for key, files in found.volumes.items())
    return hashlib.sha256(json.dumps(images).encode()).hexdigest()


def _remember(
    code: str, checked: Mapping[str, list[str]], known: Mapping[str, Seen], turns: Mapping[str, Turns]
) -> None:
    record = {
        "code": code,
        "volumes": checked,
        # All files ever seen keep theirs: a patient may be left out for a while.
        "checksums": {path: seen.content for path, seen in known.items()},
        "since": {path: seen.since for path, seen in known.items()},
        # A plan of another cohort must not change what the jobs of a running workflow read.
        "turned": {name: [[*key, *astuple(turn)] for key, turn in turned.items()] for name, turned in turns.items()},
    }
    with files.atomic_write(MEMORY) as file:
        file.write(json.dumps(record, indent=1).encode())


def _remembered(code: str) -> tuple[dict[str, list[str]], dict[str, Seen]]:
    """Earlier findings of the same code, and the files seen; nothing where the record is damaged."""
    try:
        stored = json.loads(MEMORY.read_text("utf-8"))
        seen = {path: Seen(content, stored["since"][path]) for path, content in stored["checksums"].items()}
        return dict(stored["volumes"]) if stored["code"] == code else {}, seen
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}, {}


def _remembered_turns() -> dict[str, Turns]:
    """The images that are turned, by the name of each cohort that was checked; nothing where there is no record."""
    try:
        stored = json.loads(MEMORY.read_text("utf-8"))["turned"]
        return {
            name: {(modality, patient): Turn(*choices) for modality, patient, *choices in turned}
            for name, turned in stored.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
