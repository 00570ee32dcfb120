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


@dataclass(frozen=True)
class Files:
    """One volume's image and, where it has them, labels."""

    image: Path
    labels: Path | None


@dataclass(frozen=True)
class Cohort:
    """volumes: by (modality, patient). splits: patients by split. notes: what the user should know but need not mend."""

    volumes: dict[tuple[str, str], Files]
    splits: dict[str, list[str]]
    notes: list[str] = field(default_factory=list)

    def patients(self, modality: str) -> list[str]:
        """The patients with an image of a modality."""
        return [patient for name, patient in self.volumes if name == modality]


def relative_files(folder: Path | str) -> list[str]:
    """All files below a folder, relative, with '/'. Raises InputError where there is no such folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"data: {folder} is no folder; expected the folder of the unzipped release or of your cohort.")
    found = []
    for parent, _, names in os.walk(folder, followlinks=True):
        found += [(Path(parent) / name).relative_to(folder).as_posix() for name in names]
    return sorted(found)


def find(data: Path | str, names: Iterable[str], settings: Mapping[str, Any]) -> Cohort:
    """Sort the files `names` (relative to `data`) into a cohort by the configuration's patterns and splits.

    settings: the configuration's `cohort`. Raises InputError for two files for one patient, labels without an image, a
    patient named on its own who is missing, a labelled patient without labels, an empty split, and splits that contradict.
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
    return Cohort({key: files for key, files in found.items() if key in used}, splits, notes)


def check_volume(files: Files, codes: Mapping[str, int]) -> list[str]:
    """Read a volume's image and labels and return what is odd but usable. Raises InputError for what is not usable."""
    image = volumes.read_image(files.image)
    notes = [f"{files.image}: {note}" for note in image.notes]
    if files.labels is not None:
        labels = volumes.read_labels(files.labels, codes, image)
        notes += [f"{files.labels}: {note}" for note in labels.notes]
        missing = [name for index, name in enumerate(codes, start=1) if not (labels.array == index).any()]
        if len(missing) == len(codes):
            raise InputError(f"{files.labels}: has no structure at all; expected {', '.join(codes)}. Take the file away or mend it.")
        if missing:
            notes.append(f"{files.labels}: no {', '.join(missing)}")
    return notes


def check_volumes(cohort: Cohort, codes: Mapping[str, int], remembered: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Check every volume of the cohort and return the notes by `identity`; those in `remembered` are not read again.

    Raises one InputError that lists all faulty files.
    """

    def check(files: Files) -> tuple[str, list[str] | InputError]:
        key = identity(files, codes)
        if key in remembered:
            return key, remembered[key]
        try:
            return key, check_volume(files, codes)
        except InputError as error:
            return key, error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(check, cohort.volumes.values()))
    faults = [str(result) for _, result in results if isinstance(result, InputError)]
    if faults:
        raise InputError("\n".join(faults))
    return {key: result for key, result in results if not isinstance(result, InputError)}


def identity(files: Files, codes: Mapping[str, int]) -> str:
    """What a check's result depends on: paths, sizes, times of change, codes."""
    paths = [path for path in (files.image, files.labels) if path is not None]
    return repr([(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths] + [dict(codes)])


def _match(data: Path, names: Sequence[str], pattern: str, key: str) -> dict[str, Path]:
    """Patient to path for the names that match a pattern."""
    expression = re.compile(
        "".join(
            {"{patient}": r"(?P<patient>[^/]+?)", "**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*"}.get(part, re.escape(part))
            for part in re.split(r"(\{patient\}|\*\*/|\*\*|\*)", pattern)
        )
    )
    matched: dict[str, Path] = {}
    for name in names:
        match = expression.fullmatch(name)
        if not match:
            continue
        patient = match["patient"]
        if patient.startswith(".") or re.search(r"[\x00-\x1f{}\\]", patient):
            raise InputError(f"{data / name}: patient name {patient!r} cannot be used in file names. Rename the file.")
        if patient in matched:
            raise InputError(f"patient {patient} occurs twice: {matched[patient]} and {data / name} both match {key}. Keep one.")
        matched[patient] = data / PurePosixPath(name)
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
        for entry in settings["splits"][split]:
            for patient in expand(entry):
                if (modality, patient) not in found:
                    if patient == str(entry):
                        raise InputError(
                            f"cohort.splits.{split}: patient {patient} has no {modality} image in {data}; expected a file "
                            f"that matches {settings[role]['image']}."
                        )
                    absent.append(patient)
                elif patient in splits[split]:
                    raise InputError(f"cohort.splits.{split}: patient {patient} is named twice. Name each once.")
                else:
                    splits[split].append(patient)
        if absent:
            notes.append(f"split {split}: no {modality} image of {', '.join(absent)}; {len(splits[split])} patients remain")
        if split not in ("validation", "test") and not splits[split]:
            raise InputError(
                f"cohort.splits.{split}: no {modality} image found in {data}; expected files that match "
                f"{settings[role]['image']}. Correct `data`, cohort.{role}.image or the split."
            )
    for patient in splits["labelled"]:
        if found[settings["source"]["name"], patient].labels is None:
            raise InputError(
                f"{found[settings['source']['name'], patient].image}: patient {patient} is in cohort.splits.labelled but has "
                f"no labels; expected a file that matches {settings['source']['labels']}."
            )
    both = [patient for patient in splits["validation"] if patient in splits["test"]]
    if both:
        raise InputError(f"cohort.splits: patient {both[0]} is in validation and in test; expected disjoint splits.")
    if not splits["validation"] and not splits["test"]:
        raise InputError(f"cohort.splits: neither validation nor test has a patient in {data}: nothing to segment.")
    unlabelled = [
        patient for split in ("validation", "test") for patient in splits[split] if found[settings["target"]["name"], patient].labels is None
    ]
    if unlabelled:
        notes.append(f"no {settings['target']['name']} labels of {', '.join(unlabelled)}: segmented, not evaluated")
    return splits, notes


def expand(entry: str | int) -> list[str]:
    """Patient names of a split's entry: "6-45" is a range of numbers, anything else a name."""
    limits = re.fullmatch(r"(\d+)-(\d+)", str(entry))
    if not limits:
        return [str(entry)]
    first, last = int(limits[1]), int(limits[2])
    if first > last:
        raise InputError(f"cohort.splits: range {entry} ends before it begins; expected {last}-{first}.")
    return [str(number) for number in range(first, last + 1)]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key in which patient 10 follows patient 9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
