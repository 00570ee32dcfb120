"""The cohort: which patients have which files, whether the files can be used, and who belongs to which split."""

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, NoReturn

import numpy as np
import scipy  # whose parts are loaded when they are used

from cardioseg.cohort import orientation
from cardioseg.cohort.folders import walk
from cardioseg.core import checksums, configuration, volumes
from cardioseg.core.errors import InputError
from cardioseg.core.turns import AS_STORED, Turn
from cardioseg.core.volumes import Volume

SPLITS_OF_SOURCE = ("labelled", "translation_source")
SPLITS_OF_TARGET = ("translation_target", "validation", "test")
LONGEST_RANGE = 10_000
MOST_ALIKE = 5
MAXIMAL_TURN_DEGREES = 60.0
MINIMAL_DISTANCE_MM = 5.0
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


class Grids(dict[Path, Volume]):
    """The grid of each image by its file, read when it is asked for first (see `volumes.read_grid`)."""

    def __missing__(self, path: Path) -> Volume:
        self[path] = volumes.read_grid(path)
        return self[path]


def check_volume(
    files: Files, codes: volumes.Codes, wall: Mapping[str, str] | None = None, grids: Grids | None = None
) -> list[str]:
    """Read the image and labels of a volume and check that they can be used.

    Parameters
    ----------
    files : Files
        The files.
    codes : mapping of str to int or sequence of int
        The value of each structure in the labels' file.
    wall : mapping of str to str, optional
        The names of the `cavity` and of the `myocardium` around it.
    grids : Grids, optional
        Gets the grid of the image.

    Returns
    -------
    list of str
        What is odd but usable.

    Raises
    ------
    InputError
        A file cannot be used.
    """
    image = volumes.read_image(files.image)
    if grids is not None:
        grids[files.image] = volumes.grid_of(image)
    notes = [f"{files.image}: {note}" for note in image.notes]
    if files.labels is not None:
        labels = volumes.read_labels(files.labels, codes, image)
        notes += [f"{files.labels}: {note}" for note in labels.notes]
        names, unlabelled = volumes.structures(codes), volumes.unlabelled(codes)
        expected = [name for name in names if name not in unlabelled]
        missing = [name for name in expected if not (labels.array == 1 + names.index(name)).any()]
        if missing == expected:
            raise InputError(
                f"{files.labels}: has no structure at all; expected {', '.join(expected)}. Correct or remove the file."
            )
        if missing:
            notes.append(f"{files.labels}: no {', '.join(missing)}")
        there = set(expected) - set(missing)
        enclosed = _most_enclosed(labels.array, names, wall) if wall and there >= set(wall.values()) else None
        if wall and enclosed and enclosed != wall["cavity"]:
            notes.append(
                f"{files.labels}: {wall['myocardium']} encloses {enclosed} rather than {wall['cavity']}; the codes "
                "may follow another convention"
            )
    return notes


def check_pair(source: Files, target: Files, codes: volumes.Codes, grids: Grids) -> list[str]:
    """Check that a patient's source labels, or image without labels, overlap the target image in scanner coordinates.

    Parameters
    ----------
    source, target : Files
        The patient's files.
    codes : mapping of str to int or sequence of int
        The value of each structure in the labels' file.
    grids : Grids
        The images' grids.

    Returns
    -------
    list of str
        Always empty, since `Check` expects remarks.

    Raises
    ------
    InputError
        No voxel of the target image lies in the labels, or in the source image.
    """
    image, labels = grids[target.image], grids[source.image]
    if source.labels is not None:
        labels = volumes.read_labels(source.labels, codes, labels)
    else:
        labels = Volume(np.broadcast_to(np.uint8(1), labels.array.shape), labels.affine)
    to_source = np.linalg.inv(labels.affine) @ image.affine
    slices, rows, columns = image.array.shape
    # A heart is larger than four pixels, so every fourth pixel is enough.
    voxels = np.mgrid[:1, :rows:4, :columns:4].reshape(3, -1).T[:, ::-1].copy()

    def overlaps(number: int) -> bool:
        voxels[:, 2] = number
        index = np.rint(voxels @ to_source[:3, :3].T + to_source[:3, 3]).astype(int)[:, ::-1]
        inside = ((index >= 0) & (index < labels.array.shape)).all(axis=1)
        return bool(labels.array[tuple(index[inside].T)].any())

    # The heart mostly lies in the middle.
    if not any(map(overlaps, sorted(range(slices), key=lambda number: abs(number - slices // 2)))):
        raise InputError(
            f"{source.labels or source.image}: lies entirely outside of {target.image} in scanner coordinates; "
            "expected images of one examination. Correct the headers; or rename the files of one, if they are of two "
            f"people; or remove the {'labels' if source.labels else 'image'}: the patient is then not registered."
        )
    return []


def check_structures(labelled: Iterable[Files], codes: volumes.Codes, grids: Grids | None = None) -> list[str]:
    """Check that some labels have each structure: networks cannot learn another.

    Parameters
    ----------
    labelled : iterable of Files
        The labelled images that networks learn from.
    codes : mapping of str to int or sequence of int
        See `volumes.read_labels`.
    grids : Grids, optional
        The images' grids, as far as they are known.

    Returns
    -------
    list of str
        Always empty, since `Check` expects remarks.

    Raises
    ------
    InputError
        No labels have a structure.
    """
    labelled = list(labelled)
    grids = Grids() if grids is None else grids
    names = volumes.structures(codes)
    missing = list(names)
    for files in labelled:
        assert files.labels is not None
        there = np.unique(volumes.read_labels(files.labels, codes, grids[files.image]).array)
        missing = [name for name in missing if 1 + names.index(name) not in there]
        if not missing:
            return []
    raise InputError(
        f"cohort.structures: none of the {len(labelled)} label files of cohort.splits.labelled, of which "
        f"{labelled[0].labels} is the first, has {', '.join(missing)}, so that networks cannot learn it. Correct "
        f"cohort.source.codes, or leave it out by null (cohort.structures.{missing[0]}: null)."
    )


def check_repetitions(images: Iterable[Path]) -> list[str]:
    """Check that no image occurs twice.

    Parameters
    ----------
    images : iterable of Path
        The images' files.

    Returns
    -------
    list of str
        Always empty, since `Check` expects remarks.

    Raises
    ------
    InputError
        Two files are equal byte for byte.
    """
    same_size: dict[int, list[Path]] = {}
    for path in images:
        same_size.setdefault(path.stat().st_size, []).append(path)
    for paths in same_size.values():
        seen: dict[str, str] = {}
        found = checksums.sha256(paths) if len(paths) > 1 else {}
        for name, digest in found.items():
            if digest in seen:
                raise InputError(
                    f"{name}: is the same image as {seen[digest]}, byte for byte; expected another. Replace it."
                )
            seen[digest] = name
    return []


def turns(images: Iterable[Path], grids: Grids | None = None) -> dict[Path, Turn | None]:
    """Find how each image is to be turned in-plane so that all are stored as most are: networks see the stored pixels.

    Parameters
    ----------
    images : iterable of Path
        The images' files.
    grids : Grids, optional
        The images' grids, as far as they are known.

    Returns
    -------
    dict of Path to Turn or None
        See `orientation.by_header`; None where the header does not tell.
    """
    grids = Grids() if grids is None else grids
    affines = {path: None if volumes.NO_GEOMETRY in grids[path].notes else grids[path].affine for path in images}
    wanted = orientation.usual([affine for affine in affines.values() if affine is not None])
    return {
        path: AS_STORED if wanted is None else orientation.by_header(affine, wanted) for path, affine in affines.items()
    }


def check_orientation(images: Iterable[Path], grids: Grids | None = None) -> list[str]:
    """Find images that are stored another way round than most, or whose headers do not tell.

    Parameters
    ----------
    images : iterable of Path
        The images' files.
    grids : Grids, optional
        The images' grids, as far as they are known.

    Returns
    -------
    list of str
        A remark for each of them.
    """
    notes = []
    for path, turn in turns(images, grids).items():
        if turn is None:
            notes.append(
                f"{path}: {orientation.UNTOLD}: it is taken as stored. Make sure that it lies as the others do"
            )
        elif turn != AS_STORED:
            notes.append(f"{path}: {turn} for the networks, since it is stored another way round than most images")
    return notes


def check_sides(
    labelled: Iterable[Files], codes: volumes.Codes, wall: Mapping[str, str], grids: Grids | None = None
) -> list[str]:
    """Find labelled images in which the heart lies turned against most others, whatever their headers say.

    Images are turned as their headers ask. What is compared then is the direction, in the plane of the pixels, from the
    cavity to the structures that are neither cavity nor wall and do not lie within the wall, as scars do.

    Parameters
    ----------
    labelled : iterable of Files
        Images with labels.
    codes : mapping of str to int or sequence of int
        See `volumes.read_labels`.
    wall : mapping of str to str
        The names of the `myocardium` and of the `cavity` in it.
    grids : Grids, optional
        The images' grids, as far as they are known.

    Returns
    -------
    list of str
        A remark for each image that is turned by more than `MAXIMAL_TURN_DEGREES`; none where no structure lies beside
        cavity and wall.

    Raises
    ------
    InputError
        Labels cannot be used, see `volumes.read_labels`.
    """
    others = [index for index, name in enumerate(volumes.structures(codes), start=1) if name not in wall.values()]
    cavity = 1 + volumes.structures(codes).index(wall["cavity"])
    ventricle = [cavity, 1 + volumes.structures(codes).index(wall["myocardium"])]
    labelled = list(labelled)
    grids = Grids() if grids is None else grids
    turned = turns((files.image for files in labelled), grids)
    sides: dict[Path, complex] = {}
    for files in labelled:
        assert files.labels is not None
        stored = volumes.read_labels(files.labels, codes, grids[files.image])
        labels = (turned[files.image] or AS_STORED).apply(stored)
        inside = _in_plane(labels, [cavity])
        if not inside.size:
            continue
        centre = inside.mean()
        reach = np.percentile(np.abs(_in_plane(labels, ventricle) - centre), 95)
        structures = [_in_plane(labels, [label]) - centre for label in others]
        beside = [away for away in structures if away.size and np.abs(away).mean() > reach]
        if beside and abs(np.concatenate(beside).mean()) > MINIMAL_DISTANCE_MM:
            away = np.concatenate(beside).mean()
            sides[files.image] = away / abs(away)
    if not sides:
        return []
    # That which most others are near to: a mean of two halves that are opposed would be no direction.
    mean = max(sides.values(), key=lambda side: sum((side * np.conj(other)).real > 0.5 for other in sides.values()))
    degrees = {path: abs(float(np.degrees(np.angle(side * np.conj(mean))))) for path, side in sides.items()}
    return [
        f"{path}: its labels lie turned by {angle:.0f} degrees against those of most images, though its header does "
        "not say so; networks see it as it is stored. Store all images alike"
        for path, angle in degrees.items()
        if angle > MAXIMAL_TURN_DEGREES
    ]


def _in_plane(labels: Volume, which: Sequence[int]) -> np.ndarray:
    """Return where the voxels of some labels lie in the plane of the pixels: x + iy in mm, shape (voxels,)."""
    _, y, x = np.nonzero(np.isin(labels.array, which))
    return x * labels.spacing[2] + 1j * y * labels.spacing[1]


def check_volumes(
    cohort: Cohort,
    settings: Mapping[str, Any],
    remembered: Mapping[str, list[str]],
    wall: Mapping[str, str] | None = None,
    grids: Grids | None = None,
    witnesses: Iterable[str] = (),
) -> dict[str, list[str]]:
    """Check all volumes of a cohort, each alone and then together.

    Parameters
    ----------
    cohort : Cohort
        The cohort.
    settings : mapping
        The section `cohort` of the configuration.
    remembered : mapping of str to list of str
        Results of earlier checks by `identity`. These checks are not repeated.
    wall : mapping of str to str, optional
        The names of the `cavity` and of the `myocardium` around it.
    grids : Grids, optional
        Gets the grids of the images that are read.
    witnesses : iterable of str
        Patients whose source labels are registered as well, beside `cohort.partners`.

    Returns
    -------
    dict of str to list of str
        Remarks by `identity` of the check.

    Raises
    ------
    InputError
        Files cannot be used; the error lists all of them.
    """
    codes_of = {
        settings[role]["name"]: configuration.label_codes({"cohort": settings}, role) for role in ("source", "target")
    }
    codes = codes_of[settings["source"]["name"]]
    grids = Grids() if grids is None else grids
    alone = [
        Check(
            f"volume {codes_of[modality]} {wall}",
            (files.image, files.labels),
            partial(check_volume, files, codes_of[modality], wall, grids),
        )
        for (modality, _), files in cohort.volumes.items()
    ]
    images = [files.image for files in cohort.volumes.values()]
    together = [
        Check("repetitions", images, partial(check_repetitions, images)),
        Check("orientation", images, partial(check_orientation, images, grids)),
    ]
    source_name = settings["source"]["name"]
    labelled = [cohort.volumes[source_name, patient] for patient in cohort.splits.get("labelled", [])]
    paths_of = [path for files in labelled for path in (files.image, files.labels)]
    if labelled:
        together.append(Check(f"structures {codes}", paths_of, partial(check_structures, labelled, codes, grids)))
    if wall and labelled:
        together.append(Check(f"sides {codes} {wall}", paths_of, partial(check_sides, labelled, codes, wall, grids)))
    for patient in dict.fromkeys([*cohort.partners, *witnesses]):
        source, target = (cohort.volumes[settings[role]["name"], patient] for role in ("source", "target"))
        paths = (source.image, source.labels, target.image)
        together.append(Check(f"pair {codes}", paths, partial(check_pair, source, target, codes, grids)))
    # Files are compared only after each of them has passed its own check.
    return _run(alone, remembered) | _run(together, remembered)


def summarised(oddities: Iterable[str]) -> list[str]:
    """Join remarks that say the same of more than a few files.

    Parameters
    ----------
    oddities : iterable of str
        Remarks of the form "file: what is odd".

    Returns
    -------
    list of str
        The remarks; one line, which names the first file, in the place of more than `MOST_ALIKE` that are alike.
    """
    files: dict[str, list[str]] = {}
    for oddity in oddities:
        file, _, text = oddity.partition(": ")
        files.setdefault(text, []).append(file)
    lines = []
    for text, alike in files.items():
        if len(alike) > MOST_ALIKE:
            lines.append(f"{alike[0]} and {len(alike) - 1} others, see results/cohort/cohort.csv: {text}")
        else:
            lines += [f"{file}: {text}" for file in alike]
    return lines


class Check(NamedTuple):
    """A check that returns remarks or raises InputError, what it checks, and the files that it reads."""

    what: str
    paths: Iterable[Path | None]
    run: Callable[[], list[str]]


def _run(checks: Sequence[Check], remembered: Mapping[str, list[str]]) -> dict[str, list[str]]:
    def run(check: Check) -> tuple[str, list[str] | InputError]:
        try:
            key = identity(check.what, check.paths)
            return key, remembered[key] if key in remembered else check.run()
        except InputError as error:
            return "", error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(run, checks))
    faults = [str(result) for _, result in results if isinstance(result, InputError)]
    if faults:
        raise InputError("\n".join(faults))
    return {key: result for key, result in results if not isinstance(result, InputError)}


def identity(what: str, paths: Iterable[Path | None]) -> str:
    """Identify a check's result by everything that it depends on.

    Parameters
    ----------
    what : str
        What is checked.
    paths : iterable of Path or None
        The files that are read.

    Returns
    -------
    str
        A text that changes with `what`, with the path, size or times of any file, and where another takes its place.

    Raises
    ------
    InputError
        A file is missing, or its folder may not be read.
    """
    states = []
    for path in paths:
        try:
            state = path.stat() if path else None
        except PermissionError as error:
            raise InputError(
                f"{path}: no permission to read its folder. Ask its owner, or change the permissions."
            ) from error
        except OSError as error:
            raise InputError(f"{path}: no such file; it may be a broken link. Correct or remove it.") from error
        # Files that are exchanged may be as large and as old as each other; times of change nobody sets.
        numbers = ("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino")
        states.append((str(path), *(getattr(state, number) for number in numbers)) if state else None)
    return repr((what, states))


def _most_enclosed(labels: np.ndarray, names: Sequence[str], wall: Mapping[str, str]) -> str:
    """Return the structure whose outline in the slices has most myocardium on it; of equal ones the cavity."""
    neighbours = scipy.ndimage.generate_binary_structure(2, 1)[np.newaxis]
    # Most of a volume is background, in which there is no outline.
    (foreground,) = scipy.ndimage.find_objects(labels.astype(bool).view(np.uint8))
    labels = np.pad(labels[foreground], ((0, 0), (1, 1), (1, 1)))
    myocardium = labels == 1 + names.index(wall["myocardium"])
    shares = {}
    for name in sorted(set(names) - {wall["myocardium"]}, key=lambda name: name != wall["cavity"]):
        mask = labels == 1 + names.index(name)
        outline = scipy.ndimage.binary_dilation(mask, neighbours) & ~mask
        shares[name] = myocardium[outline].mean() if outline.any() else 0.0
    return max(shares, key=lambda name: shares[name])


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
