"""Whether a cohort's files can be used: each volume by itself, then what they must have in common."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy  # whose parts are loaded when they are used

from cardioseg.cohort import orientation
from cardioseg.cohort.plan import Cohort, Files
from cardioseg.core import checksums, configuration, volumes
from cardioseg.core.errors import InputError
from cardioseg.core.turns import AS_STORED, Turn
from cardioseg.core.volumes import Volume

MOST_ALIKE = 5
MAXIMAL_TURN_DEGREES = 60.0
MINIMAL_DISTANCE_MM = 5.0


class Grids(dict[Path, Volume]):
    """The grid of each image by its file, read when it is asked for first (see `volumes.read_grid`)."""

    def __missing__(self, path: Path) -> Volume:
        self[path] = volumes.read_grid(path)
        return self[path]


def check_volume(files: Files, codes: volumes.Codes, grids: Grids, wall: Mapping[str, str] | None = None) -> list[str]:
    """Read the image and labels of a volume and check that they can be used.

    Parameters
    ----------
    files : Files
        The files.
    codes : mapping of str to int or sequence of int
        The value of each structure in the labels' file.
    grids : Grids
        Gets the grid of the image.
    wall : mapping of str to str, optional
        The names of the `cavity` and of the `myocardium` around it.

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


def check_structures(labelled: Iterable[Files], codes: volumes.Codes, grids: Grids) -> list[str]:
    """Check that some labels have each structure: networks cannot learn another.

    Parameters
    ----------
    labelled : iterable of Files
        The labelled images that networks learn from.
    codes : mapping of str to int or sequence of int
        See `volumes.read_labels`.
    grids : Grids
        The images' grids.

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


def turns(images: Iterable[Path], grids: Grids) -> dict[Path, Turn | None]:
    """Find how each image is to be turned in-plane so that all are stored as most are: networks see the stored pixels.

    Parameters
    ----------
    images : iterable of Path
        The images' files.
    grids : Grids
        The images' grids.

    Returns
    -------
    dict of Path to Turn or None
        See `orientation.by_header`; None where the header does not tell.
    """
    affines = {path: None if volumes.NO_GEOMETRY in grids[path].notes else grids[path].affine for path in images}
    wanted = orientation.usual([affine for affine in affines.values() if affine is not None])
    return {
        path: AS_STORED if wanted is None else orientation.by_header(affine, wanted) for path, affine in affines.items()
    }


def check_orientation(images: Iterable[Path], grids: Grids) -> list[str]:
    """Find images that are stored another way round than most, or whose headers do not tell.

    Parameters
    ----------
    images : iterable of Path
        The images' files.
    grids : Grids
        The images' grids.

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


def check_sides(labelled: Iterable[Files], codes: volumes.Codes, wall: Mapping[str, str], grids: Grids) -> list[str]:
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
    grids : Grids
        The images' grids.

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
    grids: Grids,
    wall: Mapping[str, str] | None = None,
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
    grids : Grids
        Gets the grids of the images that are read.
    wall : mapping of str to str, optional
        The names of the `cavity` and of the `myocardium` around it.
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
    alone = [
        Check(
            f"volume {codes_of[modality]} {wall}",
            (files.image, files.labels),
            partial(check_volume, files, codes_of[modality], grids, wall),
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
