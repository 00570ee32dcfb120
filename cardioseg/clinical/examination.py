"""The scar and the segments of one mask, or the reason why there are none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cardioseg.clinical import scar, segments
from cardioseg.clinical.ring import OPEN_DEGREES, open_slices, ring, ring_box
from cardioseg.clinical.scar import Scar
from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume

COUNTS = ("scar_slices", "scar_segments")


@dataclass(frozen=True)
class Examination:
    """Scar and segments of one mask.

    Attributes
    ----------
    scar : Scar or None
        None if it was not asked for or could not be measured.
    scar_notes : tuple of str
        Why there is no scar, or why it should be doubted.
    segments : tuple of dict
        See `segments.measure`; empty if they were not asked for.
    segments_note : str
        Why there are no segments.
    open_wall : str
        Where the wall leaves its cavity open; empty if nowhere.
    basal_scar : str
        Where scar may be blood above the base; empty if nowhere.
    """

    scar: Scar | None = None
    scar_notes: tuple[str, ...] = ()
    segments: tuple[dict[str, Any], ...] = ()
    segments_note: str = ""
    open_wall: str = ""
    basal_scar: str = ""

    def scar_labels(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the mask of the scar, which is empty if there is no scar.

        Parameters
        ----------
        shape : tuple of int
            The shape of the image's mask, (z, y, x).

        Returns
        -------
        ndarray of uint8, shape (z, y, x)
            The mask in the values of `scar.CODES`.
        """
        return self.scar.labels if self.scar else np.zeros(shape, np.uint8)

    def entry(self) -> dict[str, Any]:
        """Return a row for a table of images.

        Returns
        -------
        dict
            The numbers of the scar, the number of segments with scar, the notes and the segments, as far as there are
            any.
        """
        found: dict[str, Any] = {}
        if self.scar:
            found |= self.scar.quantities()
            if self.segments and not self.segments_note:
                found["scar_segments"] = sum(row["scar_mass_g"] > 0 for row in self.segments)
        if self.scar or self.scar_notes:
            found["scar_notes"] = list(self.scar_notes)
        if self.segments:
            found["segments"] = list(self.segments)
        return found


def examine(
    image: Volume,
    labels: np.ndarray,
    structures: Sequence[str],
    settings: Mapping[str, Any],
    doubts: Sequence[str] = (),
) -> Examination:
    """Measure the scar and the segments of an image's mask as far as the settings ask for them.

    Parameters
    ----------
    image : Volume
        Intensities (z, y, x), with the affine.
    labels : ndarray of int
        The mask, (z, y, x); label k + 1 is `structures[k]`.
    structures : sequence of str
        The structures' names.
    settings : mapping
        `clinical` (the names of `cavity` and `myocardium`), `scar` (see `scar.measure`) and `segments` (the name of the
        `right_ventricle`), each None to leave it out.
    doubts : sequence of str
        Why the outline of the wall is not to be trusted. Then no scar is measured, since an outline that takes in blood
        or fat makes these scar.

    Returns
    -------
    Examination
        The scar and the segments, or why there are none.
    """
    wall, asked, divided = settings["clinical"], settings["scar"], settings["segments"]
    if not wall:
        return Examination()
    cavity, myocardium = (1 + list(structures).index(wall[key]) for key in ("cavity", "myocardium"))
    gap = _open_wall(labels, image.spacing, cavity, myocardium)
    found, notes, basal = None, list(doubts) if asked else [], ""
    if asked and not doubts:
        try:
            found = scar.measure(image.array, labels, image.spacing, cavity, myocardium, asked)
            notes = found.warnings()
            if gap:
                notes.append(f"{gap}: scar there may be taken for cavity, so that its mass is too low")
            basal = _basal_scar(found, labels, cavity, myocardium)
            notes += [basal] if basal else []
        except InputError as error:
            notes = [str(error)]
    if not divided:
        return Examination(found, tuple(notes), open_wall=gap, basal_scar=basal)
    right_ventricle = 1 + list(structures).index(divided["right_ventricle"])
    note = ""
    try:
        mask = Volume(labels, image.affine, image.notes)
        parts = segments.divide(mask, cavity, myocardium, right_ventricle)
        rows = segments.measure(parts, image.array, image.spacing, found.chosen.scar if found else None)
    except InputError as error:
        note, rows = str(error), segments.unavailable(str(error))
    return Examination(found, tuple(notes), tuple(rows), note, gap, basal)


def _open_wall(labels: np.ndarray, spacing: tuple[float, float, float], cavity: int, myocardium: int) -> str:
    try:
        wall = ring(labels[ring_box(labels, cavity, myocardium)], spacing, cavity, myocardium)
    except InputError:
        return ""
    count = len(open_slices(wall))
    where = f"{count} slice{'s' * (count > 1)} between base and apex"
    return f"the wall is missing over {OPEN_DEGREES} degrees or more in {where}" if count else ""


def _basal_scar(found: Scar, labels: np.ndarray, cavity: int, myocardium: int) -> str:
    box = ring_box(labels, cavity, myocardium)
    wall = ring(labels[box], found.spacing, cavity, myocardium)
    confined = scar.confined_to_base(found.chosen.scar[box], wall, found.spacing)
    if not confined.any():
        return ""
    which = scar.slices_in_words(confined, box[0].start or 0)
    return (
        f"{found.grams(confined):.1f} g of the scar are in {which} alone, at the base: they may be blood that the mask "
        "takes for wall"
    )


def tables(entries: Sequence[Mapping[str, Any]]) -> dict[str, pd.DataFrame]:
    """Make tables of the entries of many masks.

    Parameters
    ----------
    entries : sequence of mapping
        For each mask its `patient` and `method`, and what `Examination.entry` returns.

    Returns
    -------
    dict of str to DataFrame
        `scar` has one row per mask, `segments` one row per mask and segment.
    """
    masks, parts = [], []
    for entry in entries:
        mask = {name: value for name, value in entry.items() if name != "segments"}
        masks.append({**mask, "scar_notes": "; ".join(entry.get("scar_notes", []))})
        named = {"patient": entry["patient"], "method": entry["method"]}
        parts += [{**named, **segment} for segment in entry.get("segments", [])]
    table = pd.DataFrame(masks)
    # Whole numbers, although masks without scar's numbers have none.
    table = table.astype({name: "Int64" for name in COUNTS if name in table})
    return {"scar": table, "segments": pd.DataFrame(parts)}
