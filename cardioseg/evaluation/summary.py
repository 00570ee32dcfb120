"""The metrics of many patients as a small table for the terminal."""

from collections.abc import Sequence

import pandas as pd

from cardioseg.evaluation.measures import AVERAGE, DICE, MEASURES, Measure, mean_over_seeds


def by_method(metrics: pd.DataFrame) -> str:
    """Summarise the measures by method, as text of less than 120 columns for three structures and measures.

    The seeds of a method are averaged for each patient first. A distance that is not available for one patient makes
    the mean N/A, as in the paper's Table 1. A structure whose Dice is not available does not count: it is neither there
    nor found, or nobody has outlined it. Nor does the distance to a structure that the manual mask lacks: its Dice of 0
    tells of the mistake, as in Table 1. A patient without any Dice does not count either: the method makes no mask of
    it. The averages are over the structures that have a Dice in a split.

    Parameters
    ----------
    metrics : DataFrame
        The columns method, split, patient, structure, volume_truth_ml and those of `MEASURES`.

    Returns
    -------
    str
        One table per split, with one row per method, by its name: the number of patients, the mean Dice over them of
        each structure, and for every measure the average over the structures, with the sample standard deviation in
        parentheses.
    """
    if metrics.empty:
        return "no patient with labels: nothing evaluated"
    structures = list(dict.fromkeys(metrics["structure"]))
    per_patient = mean_over_seeds(metrics).unstack("structure")
    of_masks = metrics.groupby(["split", "method", "patient", "structure"], sort=False)
    absent = of_masks["volume_truth_ml"].max().unstack("structure").eq(0)
    columns = ["patients", *(f"{DICE.title} {name}" for name in structures)]
    columns += [f"{measure.title} {AVERAGE}" for measure in MEASURES.values()]
    tables = []
    for split, of_split in per_patient.groupby(level="split", sort=False):
        measured = [name for name in structures if of_split[DICE.name, name].notna().any()]
        rows = [[split, *columns]]
        for method, patients in of_split.groupby(level="method", sort=False):
            patients = patients[patients[DICE.name].notna().any(axis=1)]
            row = [method, str(len(patients))]
            for name in structures:
                row.append(_text(patients[DICE.name, name], DICE).partition(" ")[0])
            due = patients[DICE.name].reindex(columns=measured).notna() & ~absent.loc[patients.index, measured]
            for measure in MEASURES.values():
                values = patients[measure.name].reindex(columns=measured)
                missed = (values.isna() & due).any(axis=1)
                row.append(_text(values.mean(axis=1).mask(missed), measure))
            rows.append(row)
        tables.append(_aligned(rows))
    return "\n\n".join(tables)


def _text(values: pd.Series, measure: Measure) -> str:
    """Mean and standard deviation as printed; no deviation of a single value."""
    mean, spread = values.mean(skipna=measure.ignores_missing), values.std()
    if pd.isna(mean):
        return "N/A"
    shown = f"{mean:.{measure.decimals}f}"
    return shown if pd.isna(spread) else f"{shown} ({spread:.{measure.decimals}f})"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Cells as text, two spaces apart: the first column to the left, the others to the right."""
    first, *others = ([str(cell) for cell in column] for column in zip(*rows, strict=True))
    columns = [[cell.ljust(max(map(len, first))) for cell in first]]
    columns += [[cell.rjust(max(map(len, column))) for cell in column] for column in others]
    return "\n".join("  ".join(row) for row in zip(*columns, strict=True))
