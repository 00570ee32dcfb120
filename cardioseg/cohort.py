"""The cohort: which patients have which files, whether the files can be used, and who belongs to which split."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from cardioseg import volumes
from cardioseg.errors import InputError

SPLITS_OF_SOURCE = ("labelled", "translation_source")
SPLITS_OF_TARGET = ("translation_target", "validation", "test")
LONGEST_RANGE = 10_000
PLACEHOLDERS = {"{patient}": r"(?P<patient>[^/]+?)", "**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*"}


@dataclass(frozen=True)
class Files:
    """One volume's image and, where it has them, labels."""

    image: Path
    labels: Path | None


@dataclass(frozen=True)
class Cohort:
    """volumes: by (modality, patient). splits: patients by split. notes: what to know but not to mend."""

    volumes: dict[tuple[str, str], Files]
    splits: dict[str, list[str]]
    notes: list[str] = field(default_factory=list)

    def patients(self, modality: str) -> list[str]:
        """The patients with an image of a modality."""
        return [patient for name, patient in self.volumes if name == modality]

    def labelled(self, modality: str) -> list[str]:
        """Those of them with labels."""
        return [patient for patient in self.patients(modality) if self.volumes[modality, patient].labels]


def relative_files(folder: Path | str) -> list[str]:
    """All files below a folder, relative, with '/', but hidden ones. Raises InputError where there is no such folder.

    Links to folders are followed; a folder that is reached twice counts once.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"data: {folder} is no folder; expected the folder of the unzipped release or of your cohort.")
    found = []
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        if os.path.realpath(parent) in visited:
            folders.clear()
            continue
        visited.add(os.path.realpath(parent))
        folders.sort()
        # macOS leaves a hidden "._name" beside every file of an archive.
        found += [(Path(parent) / name).relative_to(folder).as_posix() for name in names if not name.startswith(".")]
    return sorted(found)


def find(data: Path | str, names: Iterable[str], settings: Mapping[str, Any]) -> Cohort:
    """Sort the files `names` (relative to `data`) into a cohort by the configuration's patterns and splits.

    settings: the configuration's `cohort`. Raises InputError for two files for one patient, labels without an image, a
    patient named on its own who is missing, a labelled patient without labels, an empty split, and splits that
    contradict.
    """
    names = list(names)
    data = Path(data)
    found: dict[tuple[str, str], Files] = {}
    for role in ("source", "target"):
        modality = settings[role]
        images = _match(data, names, modality["image"], f"cohort.{role}.image")
        labels = _match(data, names, modality["labels"], f"cohort.{role}.labels")
        orphans = sorted(set(labels) - set(images), key=_natural)
        if orphans:
            raise InputError(
                f"{labels[orphans[0]]}: labels without an image; expected one that matches {modality['image']} "
                f"for patient {orphans[0]}. Add the image or correct cohort.{role}.image."
            )
        for patient in sorted(images, key=_natural):
            found[modality["name"], patient] = Files(images[patient], labels.get(patient))
    splits, notes = _splits(data, found, settings)
    used = {(settings["source"]["name"], patient) for split in SPLITS_OF_SOURCE for patient in splits[split]}
    used |= {(settings["target"]["name"], patient) for split in SPLITS_OF_TARGET for patient in splits[split]}
    # Registration carries a patient's own source labels to its target image, whichever splits these are in.
    partners = {(settings["source"]["name"], patient) for split in ("validation", "test") for patient in splits[split]}
    volumes_used = {key: files for key, files in found.items() if key in used or (key in partners and files.labels)}
    return Cohort(volumes_used, splits, notes)


def check_volume(files: Files, codes: Mapping[str, int]) -> list[str]:
    """Read a volume's image and labels and return what is odd but usable. Raises InputError for what is not usable."""
    image = volumes.read_image(files.image)
    notes = [f"{files.image}: {note}" for note in image.notes]
    if files.labels is not None:
        labels = volumes.read_labels(files.labels, codes, image)
        notes += [f"{files.labels}: {note}" for note in labels.notes]
        missing = [name for index, name in enumerate(codes, start=1) if not (labels.array == index).any()]
        if len(missing) == len(codes):
            raise InputError(
                f"{files.labels}: has no structure at all; expected {', '.join(codes)}. Take the file away or mend it."
            )
        if missing:
            notes.append(f"{files.labels}: no {', '.join(missing)}")
    return notes


def check_volumes(
    cohort: Cohort, codes: Mapping[str, int], remembered: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """Check every volume of the cohort and return the notes by `identity`; those in `remembered` are not read again.

    Raises one InputError that lists all faulty files.
    """

    def check(files: Files) -> tuple[str, list[str] | InputError]:
        try:
            key = identity(files, codes)
            return key, remembered[key] if key in remembered else check_volume(files, codes)
        except InputError as error:
            return "", error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(check, cohort.volumes.values()))
    faults = [str(result) for _, result in results if isinstance(result, InputError)]
    if faults:
        raise InputError("\n".join(faults))
    return {key: result for key, result in results if not isinstance(result, InputError)}


def identity(files: Files, codes: Mapping[str, int]) -> str:
    """What a check's result depends on: paths, sizes, times of change, codes. Raises InputError for a missing file."""
    paths = [path for path in (files.image, files.labels) if path is not None]
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file; a link that leads nowhere? Mend or remove it.")
    return repr([(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths] + [dict(codes)])


def _match(data: Path, names: Sequence[str], pattern: str, key: str) -> dict[str, Path]:
    """Patient to path for the names that match a pattern."""
    expression = re.compile(
        "".join(PLACEHOLDERS.get(part, re.escape(part)) for part in re.split(r"(\{patient\}|\*\*/|\*\*|\*)", pattern))
    )
    matched: dict[str, Path] = {}
    for name in names:
        match = expression.fullmatch(name)
        if not match:
            continue
        patient, path = match["patient"], data / PurePosixPath(name)
        if patient.startswith(".") or not str(path).isprintable() or re.search(r"[{}\\]", str(path)):
            raise InputError(
                f"{str(path)!r}: braces, backslashes, control characters in a path, or a dot before a patient's name "
                f"({patient!r}) cannot be used. Rename it."
            )
        if patient in matched:
            raise InputError(
                f"patient {patient} occurs twice: {matched[patient]} and {path} both match {key}. Keep one."
            )
        matched[patient] = path
    return matched


def _splits(
    data: Path, found: Mapping[tuple[str, str], Files], settings: Mapping[str, Any]
) -> tuple[dict[str, list[str]], list[str]]:
    splits: dict[str, list[str]] = {}
    notes: list[str] = []
    for split in (*SPLITS_OF_SOURCE, *SPLITS_OF_TARGET):
        role = "source" if split in SPLITS_OF_SOURCE else "target"
        modality = settings[role]["name"]
        splits[split] = []
        absent = []
        names = [name for owner, name in found if owner == modality]
        for entry in settings["splits"][split]:
            for patient in _named(entry, names):
                if (modality, patient) not in found:
                    if patient == str(entry):
                        raise InputError(
                            f"cohort.splits.{split}: patient {patient} has no {modality} image in {data}; expected a "
                            f"file that matches {settings[role]['image']}."
                        )
                    absent.append(patient)
                elif patient in splits[split]:
                    raise InputError(f"cohort.splits.{split}: patient {patient} is named twice. Name each once.")
                else:
                    splits[split].append(patient)
        if absent:
            remain = f"{len(splits[split])} patients remain"
            notes.append(f"split {split}: no {modality} image of {', '.join(absent)}; {remain}")
        if split not in ("validation", "test") and not splits[split]:
            raise InputError(
                f"cohort.splits.{split}: no {modality} image found in {data}; expected files that match "
                f"{settings[role]['image']}. Correct `data`, cohort.{role}.image or the split."
            )
    for patient in splits["labelled"]:
        files = found[settings["source"]["name"], patient]
        if files.labels is None:
            raise InputError(
                f"{files.image}: patient {patient} is in cohort.splits.labelled but has no labels; expected a file "
                f"that matches {settings['source']['labels']}."
            )
    both = [patient for patient in splits["validation"] if patient in splits["test"]]
    if both:
        raise InputError(f"cohort.splits: patient {both[0]} is in validation and in test; expected disjoint splits.")
    if not splits["validation"] and not splits["test"]:
        raise InputError(f"cohort.splits: neither validation nor test has a patient in {data}: nothing to segment.")
    target = settings["target"]["name"]
    segmented = [*splits["validation"], *splits["test"]]
    unlabelled = [patient for patient in segmented if found[target, patient].labels is None]
    if unlabelled:
        notes.append(f"no {target} labels of {', '.join(unlabelled)}: segmented, not evaluated")
    return splits, notes


def expand(entry: str | int) -> list[str]:
    """Patient names of a split's entry: "6-45" is a range of numbers, anything else a name."""
    limits = re.fullmatch(r"(\d+)-(\d+)", str(entry))
    if not limits:
        return [str(entry)]
    first, last = int(limits[1]), int(limits[2])
    if first > last:
        raise InputError(f"cohort.splits: range {entry} ends before it begins; expected {last}-{first}.")
    if last - first >= LONGEST_RANGE:
        raise InputError(f"cohort.splits: range {entry} is too long; expected at most {LONGEST_RANGE} patients.")
    return [str(number) for number in range(first, last + 1)]


def _named(entry: str | int, names: Sequence[str]) -> list[str]:
    """Patients of an entry: the name itself if there is one ("01-002"), else numbers, zero-padded as the names are."""
    if str(entry) in names:
        return [str(entry)]
    padded = {str(int(name)): name for name in sorted(names, key=len, reverse=True) if name.isdecimal()}
    return [padded.get(number, number) for number in expand(entry)]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key in which patient 10 follows patient 9."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
