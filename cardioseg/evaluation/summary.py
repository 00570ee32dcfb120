"""The metrics of many patients as one small table."""

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
    """Summarise every measure by method, as text.

    The seeds of a method are averaged for each patient first. A distance that is not available for one patient makes
    the mean N/A, as in the paper's Table 1. A Dice that is not available does not count: the structure is neither there
    nor found. A patient without any Dice does not count either: the method makes no mask of it.

    Parameters
    ----------
    metrics : DataFrame
        The columns method, split, patient, structure and those of `MEASURES`.

    Returns
    -------
    str
        One row per split and method, one column per measure and structure: the mean over patients, with the sample
        standard deviation in parentheses.
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
