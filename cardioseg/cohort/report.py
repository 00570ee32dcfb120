"""The table of all volumes that a workflow uses."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cardioseg.cohort import checks
from cardioseg.cohort.plan import Files
from cardioseg.core import volumes

LOCATED = {True: "yes", False: "no", None: "not needed"}


class Entry(NamedTuple):
    """A volume of the cohort.

    Attributes
    ----------
    modality, patient : str
        Their names.
    image : Path
        The image.
    labels : Path or None
        The labels, if there are any.
    location : Path or None
        The file that says where the heart was found; None if nothing depends on it.
    """

    modality: str
    patient: str
    image: Path
    labels: Path | None
    location: Path | None


def rows(
    entries: Sequence[Entry],
    splits: Mapping[str, Mapping[str, Sequence[str]]],
    codes: Mapping[str, volumes.Codes],
    wall: Mapping[str, str] | None,
) -> list[dict[str, str | int]]:
    """Describe every volume of a cohort: its splits, geometry, oddities, and whether its heart was found.

    Parameters
    ----------
    entries : sequence of Entry
        The volumes.
    splits : mapping of str to mapping of str to sequence of str
        By modality and split, the patients.
    codes : mapping of str to Codes
        By modality, as for `checks.check_volume`.
    wall : mapping of str to str, or None
        As for `checks.check_volume`.

    Returns
    -------
    list of dict
        One row per volume; `notes` are separated by semicolons.

    Raises
    ------
    InputError
        A file cannot be used.
    """
    grids = checks.Grids()
    orientation = checks.check_orientation([entry.image for entry in entries], grids)
    for modality in codes:
        labelled = [
            Files(entry.image, entry.labels)
            for entry in entries
            if entry.modality == modality and entry.patient in splits[modality].get("labelled", ())
        ]
        orientation += checks.check_sides(labelled, codes[modality], wall, grids) if wall and labelled else []
    return [_row(entry, grids, splits[entry.modality], codes[entry.modality], wall, orientation) for entry in entries]


def _row(
    entry: Entry,
    grids: checks.Grids,
    splits: Mapping[str, Sequence[str]],
    codes: volumes.Codes,
    wall: Mapping[str, str] | None,
    orientation: Sequence[str],
) -> dict[str, str | int]:
    notes = checks.check_volume(Files(entry.image, entry.labels), codes, grids, wall)
    notes += [note for note in orientation if note.startswith(f"{entry.image}: ")]
    grid = grids[entry.image]
    located = json.loads(entry.location.read_text("utf-8")) if entry.location else {}
    found = located.get("found")
    if located.get("doubt"):
        notes.append(f"{entry.image}: {located['doubt']}")
    if found is False:
        notes.append("the localiser finds no heart: the crop is centred on the image")
    return {
        "modality": entry.modality,
        "patient": entry.patient,
        "splits": " ".join(split for split, patients in splits.items() if entry.patient in patients),
        "slices": grid.array.shape[0],
        "matrix": "x".join(map(str, grid.array.shape[1:])),
        "spacing_mm": " ".join(f"{mm:.3f}" for mm in grid.spacing),
        "labels": "yes" if entry.labels else "no",
        "located": LOCATED[found],
        "notes": "; ".join(notes),
        "image": str(entry.image),
    }
