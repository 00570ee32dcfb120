"""All masks of one patient against the manual one, as rows of `metrics.csv` and `metrics_thirds.csv`."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from cardioseg.evaluation import clinical, methods, metrics, thirds
from cardioseg.evaluation.measures import COLUMNS, THIRDS_COLUMNS

# Columns that say whose rows these are.
WHOSE = ("split", "patient")
Row = dict[str, str | float]


class Agreement(NamedTuple):
    """How well the masks of a patient agree with the manual one.

    Attributes
    ----------
    whole : DataFrame
        `measures.COLUMNS` without split and patient, one row per mask and structure. A value that is not available is
        NaN. A method without a mask has rows with its name and the structure alone.
    thirds : DataFrame
        `measures.THIRDS_COLUMNS` without split and patient, one row per mask, structure and third of the stack.
    """

    whole: pd.DataFrame
    thirds: pd.DataFrame

    def named(self, split: str, patient: str) -> "Agreement":
        """Add whose rows these are.

        Parameters
        ----------
        split, patient : str
            Names of the split and of the patient.

        Returns
        -------
        Agreement
            The tables with all columns, in the order of the files.
        """
        whole, parts = (table.assign(split=split, patient=patient) for table in self)
        return Agreement(whole[COLUMNS], parts[THIRDS_COLUMNS])


def evaluate(
    masks: Iterable[tuple[str, np.ndarray | None]],
    truth: np.ndarray,
    spacing: tuple[float, float, float],
    structures: Sequence[str],
    wall: Mapping[str, str] | None,
    unlabelled: Collection[str] = (),
) -> Agreement:
    """Measure every mask of a patient on the grid of the raw image, where label k + 1 is `structures[k]`.

    Parameters
    ----------
    masks : iterable of tuple
        The folder of each mask (see `Method.folders`) and its labels (z, y, x), which are None where the method makes
        no mask of this patient.
    truth : ndarray
        The manual labels (z, y, x).
    spacing : tuple of float
        Size of a voxel in mm, (z, y, x).
    structures : sequence of str
        Their names.
    wall : mapping of str to str, optional
        The configuration's `clinical`, for the thickness of the wall; None where there is no such wall.
    unlabelled : collection of str, optional
        Structures that nobody has outlined. Nothing is known of how well a mask agrees there, so that their rows have
        the mask's volume alone. A structure that is merely not in `truth` has been looked for: a mask that has it is
        wrong, with a Dice of 0.

    Returns
    -------
    Agreement
        The tables of the patient.

    Raises
    ------
    InputError
        See `metrics.compare`.
    """
    true_thickness = clinical.thickness(truth, spacing, structures, wall) if wall else np.nan
    of_slices = thirds.of_slices(truth)
    rows: list[Row] = []
    parts: list[Row] = []
    for folder, mask in masks:
        method, seed = methods.of_folder(folder)
        if mask is None:
            of_method, of_parts = _without_mask(method, structures)
            rows += of_method
            parts += of_parts
            continue
        found = metrics.compare(mask, truth, spacing, structures)
        for each in found:
            row = metrics.measure(each, spacing)
            if each.structure in unlabelled:
                row = {name: row[name] for name in ("structure", "volume_ml")}
            if wall and row["structure"] == wall["myocardium"]:
                row["wall_thickness_mm"] = clinical.thickness(mask, spacing, structures, wall)
                row["wall_thickness_truth_mm"] = true_thickness
            rows.append({"method": method, **row, "seed": seed})
        for row in thirds.evaluate(found, of_slices):
            if row["structure"] in unlabelled:
                row = {name: row[name] for name in ("structure", "third")}
            parts.append({"method": method, **row, "seed": seed})
    return _agreement(rows, parts)


def not_measured(method: str, structures: Sequence[str]) -> Agreement:
    """Return the rows of a mask that could not be measured, without values.

    Parameters
    ----------
    method : str
        What the mask is called in the tables.
    structures : sequence of str
        Names of the structures.

    Returns
    -------
    Agreement
        The tables of the patient.
    """
    return _agreement(*_without_mask(method, structures))


def _without_mask(method: str, structures: Sequence[str]) -> tuple[list[Row], list[Row]]:
    rows: list[Row] = [{"method": method, "structure": name} for name in structures]
    return rows, [{**row, "third": third} for row in rows for third in thirds.THIRDS]


def _agreement(rows: list[Row], parts: list[Row]) -> Agreement:
    return Agreement(
        pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in WHOSE]),
        pd.DataFrame(parts, columns=[name for name in THIRDS_COLUMNS if name not in WHOSE]),
    )
