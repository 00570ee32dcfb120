"""All masks of one patient against the manual one, as rows of `metrics.csv`."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from cardioseg.evaluation import clinical, methods, metrics
from cardioseg.evaluation.measures import COLUMNS


def evaluate(
    masks: Iterable[tuple[str, np.ndarray | None]],
    truth: np.ndarray,
    spacing: tuple[float, float, float],
    structures: Sequence[str],
    wall: Mapping[str, str] | None,
) -> pd.DataFrame:
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

    Returns
    -------
    DataFrame
        `COLUMNS` without split and patient, one row per mask and structure. A value that is not available is NaN. A
        method without a mask has rows with its name and the structure alone.

    Raises
    ------
    InputError
        See `metrics.evaluate`.
    """
    true_thickness = clinical.thickness(truth, spacing, structures, wall) if wall else np.nan
    rows: list[dict[str, str | float]] = []
    for folder, mask in masks:
        method, seed = methods.of_folder(folder)
        if mask is None:
            rows += [{"method": method, "structure": name} for name in structures]
            continue
        for row in metrics.evaluate(mask, truth, spacing, structures):
            if wall and row["structure"] == wall["myocardium"]:
                row["wall_thickness_mm"] = clinical.thickness(mask, spacing, structures, wall)
                row["wall_thickness_truth_mm"] = true_thickness
            rows.append({"method": method, **row, "seed": seed})
    return pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in ("split", "patient")])
