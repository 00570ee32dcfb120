"""Metrics of many patients as one small table."""

import pandas as pd

from cardioseg.evaluation.measures import MEASURES, mean_over_seeds

COLUMNS = [
    "method",
    "split",
    "patient",
    "structure",
    "dice",
    "asd_mm",
    "seed",
    "hd95_mm",
    "asd_prediction_to_truth_mm",
    "asd_truth_to_prediction_mm",
    "volume_ml",
    "volume_truth_ml",
    "wall_thickness_mm",
    "wall_thickness_truth_mm",
]


def by_method(metrics: pd.DataFrame) -> str:
    """Mean (sample standard deviation) over patients of every measure, a row a split and method, a column a structure.

    metrics: the columns method, split, patient, structure and those of `MEASURES`; several rows of a patient where a
    method has several members: each patient counts with the mean over the members. A distance that is N/A for any
    patient makes the mean N/A (paper Table 1). A Dice that is N/A, the structure being neither there nor found, does
    not count; nor does a patient without any Dice, of whom the method makes no mask.
    """
    if metrics.empty:
        return "no patient with labels: nothing evaluated"
    structures = list(dict.fromkeys(metrics["structure"]))
    per_patient = mean_over_seeds(metrics).unstack("structure")
    rows = {}
    for (split, method), patients in per_patient.groupby(level=["split", "method"], sort=False):
        patients = patients[patients["dice"].notna().any(axis=1)]
        row = {}
        for measure in MEASURES.values():
            values = patients[measure.name].reindex(columns=structures)
            for name, column in [*values.items(), ("AVG", values.mean(axis=1, skipna=measure.ignores_missing))]:
                mean, spread = column.mean(skipna=measure.ignores_missing), column.std()
                text = f"{mean:.3f}" if pd.isna(spread) else f"{mean:.3f} ({spread:.3f})"
                row[f"{measure.title} {name}"] = "N/A" if pd.isna(mean) else text
        rows[split, method, len(patients)] = row
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["split", "method", "patients"])
    return table.reset_index().to_string(index=False)
