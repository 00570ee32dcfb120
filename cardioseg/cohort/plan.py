"""The cohort: which patients have which files, and who belongs to which split."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from cardioseg.cohort.folders import walk
from cardioseg.core.errors import InputError
from cardioseg.core.turns import Turn

SPLITS_OF_SOURCE = ("labelled", "translation_source")
SPLITS_OF_TARGET = ("translation_target", "validation", "test")
LONGEST_RANGE = 10_000
PLACEHOLDERS = {"{patient}": r"(?P<patient>[^/]+?)", "**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*"}


@dataclass(frozen=True)
class Files:
    """The files of one volume.

    Attributes
    ----------
    image : Path
        The image.
    labels : Path or None
        The manual labels, if there are any.
    """

    image: Path
    labels: Path | None


@dataclass(frozen=True)
class Cohort:
    """The files that a workflow uses.

    Attributes
    ----------
    volumes : dict of (str, str) to Files
        Files by modality and patient.
    splits : dict of str to list of str
        Patients by split: those that networks learn from by name, others as the configuration names them.
    partners : list of str
        Segmented patients whose source labels are registered to their target image.
    notes : list of str
        Remarks on the splits that need no action.
    oddities : list of str
        Remarks on files that this check read. Files that an earlier check read are left out.
    turned : dict of (str, str) to Turn
        By modality and patient, how images are turned in-plane that are not used as they are stored.
    """

    volumes: dict[tuple[str, str], Files]
    splits: dict[str, list[str]]
    partners: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)
    turned: dict[tuple[str, str], Turn] = field(default_factory=dict)

    def patients(self, modality: str) -> list[str]:
        """Return the patients with an image of a modality.

        Parameters
        ----------
        modality : str
            Its name.

        Returns
        -------
        list of str
            Their names.
        """
        return [patient for name, patient in self.volumes if name == modality]

    def labelled(self, modality: str) -> list[str]:
        """Return the patients with a labelled image of a modality.

        Parameters
        ----------
        modality : str
            Its name.

        Returns
        -------
        list of str
            Their names.
        """
        return [patient for patient in self.patients(modality) if self.volumes[modality, patient].labels]


def relative_files(folder: Path | str, without: Path | None = None) -> list[str]:
    """List all files below a folder; hidden files and folders are left out.

    Links to folders are followed. A folder that is reached twice counts once.

    Parameters
    ----------
    folder : Path or str
        The folder.
    without : Path, optional
        A folder below it to leave out.

    Returns
    -------
    list of str
        Paths relative to the folder, with '/', in alphabetical order.

    Raises
    ------
    InputError
        The folder does not exist, or a folder below it cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"data: {folder} is not a folder; expected the folder of the unzipped release or of your cohort, as seen "
            "from the folder of --directory."
        )
    below = walk(folder, _unreadable, without)
    return sorted((parent / name).relative_to(folder).as_posix() for parent, names in below for name in names)


def _unreadable(error: OSError) -> NoReturn:
    raise InputError(
        f"{error.filename}: the folder cannot be read ({error.strerror}). Change its permissions, or move it away."
    ) from error


def find(data: Path | str, names: Iterable[str], settings: Mapping[str, Any], predicted: bool = False) -> Cohort:
    """Sort files into a cohort by the configuration's patterns and splits.

    Parameters
    ----------
    data : Path or str
        The folder of the data.
    names : iterable of str
        Files relative to it, as from `relative_files`.
    settings : mapping
        The section `cohort` of the configuration.
    predicted : bool
        Whether networks predict labels of source images, so that patients without manual ones are registered, too.

    Returns
    -------
    Cohort
        The files that the splits need, without oddities.

    Raises
    ------
    InputError
        Two files match for one patient, an image is of both modalities, labels have no image, a patient that a split
        names is missing, a labelled patient has no labels, a split is empty, or splits contradict each other. Of
        labels, images and patients that are missing the error lists all.
    """
    names = list(names)
    data = Path(data)
    found: dict[tuple[str, str], Files] = {}
    orphans: list[str] = []
    matched = _match(data, names, settings)
    _refuse(
        [
            f"{path}: fits cohort.source.image and cohort.target.image; expected an image of one modality. Correct one "
            "of the patterns."
            for path in sorted({*matched["source", "image"].values()} & {*matched["target", "image"].values()})
        ]
    )
    for role in ("source", "target"):
        modality = settings[role]
        images, labels = matched[role, "image"], matched[role, "labels"]
        orphans += [
            f"{labels[patient]}: labels without an image; expected one that matches {modality['image']} for patient "
            f"{patient}. Add the image or correct cohort.{role}.image."
            for patient in sorted(set(labels) - set(images), key=_natural)
        ]
        for patient in sorted(images, key=_natural):
            found[modality["name"], patient] = Files(images[patient], labels.get(patient))
    _refuse(orphans)
    splits, notes = _splits(data, found, settings)
    used = {(settings["source"]["name"], patient) for split in SPLITS_OF_SOURCE for patient in splits[split]}
    used |= {(settings["target"]["name"], patient) for split in SPLITS_OF_TARGET for patient in splits[split]}
    # Registration needs a patient's own source labels, in whichever split they are.
    partners = [
        patient
        for patient in [*splits["validation"], *splits["test"]]
        if (own := found.get((settings["source"]["name"], patient))) and (own.labels or predicted)
    ]
    used |= {(settings["source"]["name"], patient) for patient in partners}
    return Cohort({key: files for key, files in found.items() if key in used}, splits, partners, notes)


def _match(data: Path, names: Sequence[str], settings: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Path]]:
    """Return the path of each patient, by role (source, target) and kind (image, labels), among the names.

    001_gt.nii.gz fits {patient}.nii.gz as well as {patient}_gt.nii.gz. Of several patterns that a name fits, those
    count that leave the least of it to the patient: more than one, where modalities share their labels.
    """
    keys = [(role, kind) for role in ("source", "target") for kind in ("image", "labels")]
    expressions = {key: _expression(settings[key[0]][key[1]]) for key in keys}
    matched: dict[tuple[str, str], dict[str, Path]] = {key: {} for key in keys}
    for name in names:
        fits = {key: match["patient"] for key in keys if (match := expressions[key].fullmatch(name))}
        least = min(map(len, fits.values()), default=0)
        for key, stored in fits.items():
            if len(stored) > least:
                continue
            # File systems store accented letters in different ways; the configuration has them composed.
            patient, path = unicodedata.normalize("NFC", stored), data / PurePosixPath(name)
            if patient.startswith(".") or not str(path).isprintable() or re.search(r"[{}<>\\]", str(path)):
                raise InputError(
                    f"{str(path)!r}: braces, angle brackets, backslashes, control characters in a path, or a dot "
                    f"before a patient's name ({patient!r}) cannot be used. Rename it."
                )
            if patient in matched[key]:
                raise InputError(
                    f"patient {patient} occurs twice: {matched[key][patient]} and {path} both match "
                    f"cohort.{'.'.join(key)}. Keep one."
                )
            matched[key][patient] = path
    return matched


def _expression(pattern: str) -> re.Pattern[str]:
    """Return what a path below the data must match to fit a pattern of the configuration."""
    parts = re.split(r"(\{patient\}|\*\*/|\*\*|\*)", pattern)
    return re.compile("".join(PLACEHOLDERS.get(part, re.escape(part)) for part in parts))


def _refuse(faults: Sequence[str]) -> None:
    """Raise InputError with all faults, a line each, if there are any."""
    if faults:
        raise InputError("\n".join(faults))


def _splits(
    data: Path, found: Mapping[tuple[str, str], Files], settings: Mapping[str, Any]
) -> tuple[dict[str, list[str]], list[str]]:
    splits: dict[str, list[str]] = {}
    notes: list[str] = []
    missing: list[str] = []
    empty: list[str] = []
    for split in (*SPLITS_OF_SOURCE, *SPLITS_OF_TARGET):
        role = "source" if split in SPLITS_OF_SOURCE else "target"
        modality = settings[role]["name"]
        splits[split] = []
        absent = []
        names = [name for owner, name in found if owner == modality]
        if not names and split not in ("validation", "test"):
            raise InputError(
                f"cohort.splits.{split}: no {modality} image found in {data}; expected files that match "
                f"{settings[role]['image']}. Correct `data`, cohort.{role}.image or the split."
            )
        for entry in settings["splits"][split]:
            for patient in _named(entry, names):
                if (modality, patient) not in found:
                    if patient == str(entry):
                        missing.append(
                            f"cohort.splits.{split}: patient {patient} has no {modality} image in {data}; expected a "
                            f"file that matches {settings[role]['image']}."
                        )
                    else:
                        absent.append(patient)
                elif patient in splits[split]:
                    raise InputError(f"cohort.splits.{split}: patient {patient} is named twice. Name each once.")
                else:
                    splits[split].append(patient)
        if absent:
            remain = f"{len(splits[split])} patients remain"
            notes.append(f"split {split}: no {modality} image of {', '.join(absent)}; {remain}")
        if split not in ("validation", "test") and not splits[split]:
            shown = ", ".join(sorted(names, key=_natural)[:3]) + (", ..." if len(names) > 3 else "")
            empty.append(
                f"cohort.splits.{split}: names none of the {len(names)} patients with {modality} images in {data} "
                f"({shown}). Name some of them there."
            )
    # What networks learn does not hang on the order in which the configuration names patients.
    for split in (*SPLITS_OF_SOURCE, "translation_target"):
        splits[split].sort(key=_natural)
    for patient in splits["labelled"]:
        files = found[settings["source"]["name"], patient]
        if files.labels is None:
            missing.append(
                f"{files.image}: patient {patient} is in cohort.splits.labelled but has no labels; expected a file "
                f"that matches {settings['source']['labels']}."
            )
    _refuse(missing)
    _refuse(empty)
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
    """Return the names that an entry of a split stands for: "6-45" is a range of numbers, anything else a name.

    Parameters
    ----------
    entry : str or int
        The entry.

    Returns
    -------
    list of str
        The names.

    Raises
    ------
    InputError
        A range ends before it begins, or is too long.

    Examples
    --------
    >>> expand("6-8")
    ['6', '7', '8']
    >>> expand("anna")
    ['anna']
    """
    limits = re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", str(entry))
    if not limits:
        return [str(entry)]
    first, last = int(limits[1]), int(limits[2])
    if first > last:
        raise InputError(f"cohort.splits: range {entry} ends before it begins; expected {last}-{first}.")
    if last - first >= LONGEST_RANGE:
        raise InputError(f"cohort.splits: range {entry} is too long; expected at most {LONGEST_RANGE} patients.")
    return [str(number) for number in range(first, last + 1)]


def _named(entry: str | int, names: Sequence[str]) -> list[str]:
    """Return the patients of an entry.

    The entry is a patient's name ("01-002") if there is such a patient. With "*" it stands for the patients whose names
    it fits, * for any part of a name. Otherwise it is expanded to numbers, which are padded with zeros as the patients'
    names are.
    """
    name = unicodedata.normalize("NFC", str(entry))
    if name in names:
        return [name]
    if "*" in name:
        fitting = re.compile(".*".join(map(re.escape, name.split("*"))))
        return [patient for patient in names if fitting.fullmatch(patient)]
    padded = {str(int(name)): name for name in sorted(names, key=len, reverse=True) if name.isdecimal()}
    return [padded.get(number, number) for number in expand(entry)]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key by which patient 10 follows patient 9."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
