"""The patients with the poorest results of a method."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cardioseg.core.volumes import Volume
from cardioseg.figures import style

LEVELS = 6


def worst_patients(metrics: pd.DataFrame, method: str, count: int) -> pd.DataFrame:
    """Find the patients with the lowest mean Dice over the structures.

    A structure that is neither there nor found does not count. A patient for whom no structure counts is left out.

    Parameters
    ----------
    metrics : DataFrame
        The columns method, patient, structure and dice.
    method : str
        The method.
    count : int
        The number of patients.

    Returns
    -------
    DataFrame
        Indexed by patient, the poorest result first; of equal ones the earlier in the table comes first. The columns
        are the structures' Dice in the table's order, then `mean`.
    """
    rows = metrics[metrics["method"] == method]
    dice = rows.pivot_table(index="patient", columns="structure", values="dice", sort=False, dropna=False)
    dice = dice.reindex(index=list(dict.fromkeys(rows["patient"])), columns=list(dict.fromkeys(rows["structure"])))
    dice["mean"] = dice.mean(axis=1)
    return dice.dropna(subset=["mean"]).sort_values("mean", kind="stable").head(count)


@style.styled
def figure(
    patients: Mapping[str, tuple[Volume, Mapping[str, np.ndarray]]], scores: pd.DataFrame, structures: Sequence[str]
) -> Figure:
    """Draw slices from apex to base, one per column, with one row per label map and the Dice above each patient.

    Parameters
    ----------
    patients : mapping of str to (Volume, mapping of str to ndarray), shape (z, y, x)
        By name, the image and its labels by title.
    scores : DataFrame
        As from `worst_patients`.
    structures : sequence of str
        Names of the structures.

    Returns
    -------
    Figure
        The figure.
    """
    titles = list(dict.fromkeys(title for _, labels in patients.values() for title in labels))
    rows = len(titles) * len(patients)
    drawn = Figure(figsize=(0.6 + 1.35 * LEVELS, 0.4 + 1.36 * rows + 0.3 * len(patients)), layout=style.tight_layout())
    blocks = drawn.subfigures(len(patients), 1, squeeze=False)[:, 0]
    for block, (name, (stored, labels)) in zip(blocks, patients.items(), strict=True):
        dice = ", ".join(f"{key} {_number(scores.loc[name, key])}" for key in [*structures, "mean"])
        block.suptitle(f"patient {name}: Dice {dice}", fontsize=9, fontweight="bold")
        turn = style.upright(stored)
        image, everything = turn.apply(stored), turn.rearrange(np.max(list(labels.values()), axis=0))
        where, grey = style.window(everything, image.spacing), style.limits(image.array)
        levels = style.levels(everything, LEVELS)
        axes = block.subplots(len(titles), LEVELS, squeeze=False)
        for row, title in zip(axes, titles, strict=True):
            for axis in row:
                style.bare(axis)
            for axis, z in zip(row, levels, strict=False):
                style.write(axis, f"slice {z + 1}")
                style.show(axis, image, z, where, grey)
                style.outline(axis, turn.rearrange(labels[title][z])[where], len(structures))
            row[0].set_ylabel(style.wrapped(title, 22))
        style.scale_bar(axes[0, 0], image, where)
    style.legend(drawn, structures)
    return drawn


def _number(dice: float) -> str:
    return "N/A" if np.isnan(dice) else f"{dice:.2f}"
