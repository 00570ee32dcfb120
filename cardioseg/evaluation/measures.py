"""The measures of agreement with the manual masks, and what all tables and figures do with them."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

# The mean over the structures, where tables name these.
AVERAGE = "AVG"


@dataclass(frozen=True)
class Measure:
    """A column of `metrics.csv` that the tables and figures show.

    Parameters
    ----------
    name : str
        The column's name.
    title : str
        What a reader is shown, with the unit.
    decimals : int
        The number of decimals in Table 1.
    higher_is_better : bool
        Whether the highest mean is the best one.
    ignores_missing : bool
        Whether a value that is not available leaves the mean over patients as that of the others. Otherwise the mean
        is not available either, for a missed structure must not improve it.
    is_overlap : bool
        Whether values lie between 0 and 1. Others are distances in mm.
    """

    name: str
    title: str
    decimals: int
    higher_is_better: bool = False
    ignores_missing: bool = False
    is_overlap: bool = False


DICE = Measure("dice", "Dice", 3, higher_is_better=True, ignores_missing=True, is_overlap=True)
ASD = Measure("asd_mm", "ASD (mm)", 2)
HD95 = Measure("hd95_mm", "HD95 (mm)", 2)
# By name, in the order of the tables.
MEASURES = {measure.name: measure for measure in (DICE, ASD, HD95)}
# The columns of `metrics.csv`.
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
# Those of `metrics_thirds.csv`.
THIRDS_COLUMNS = ["method", "split", "patient", "structure", "third", *MEASURES, "seed"]
# Columns of names, which are text whatever they look like: a patient may be called NA, 007 or 1e5.
NAMES = ("method", "split", "patient", "structure", "third")
NOT_AVAILABLE = ("N/A", "")


def read(path: Path | str) -> pd.DataFrame:
    """Read a `metrics.csv` or `metrics_thirds.csv`.

    Parameters
    ----------
    path : Path or str
        The file.

    Returns
    -------
    DataFrame
        Its rows. Names are text and all else is a number; the seed is missing where a method has no seeds.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in table.columns.difference(NAMES):
        table[column] = pd.to_numeric(table[column].where(~table[column].isin(NOT_AVAILABLE)))
    return table.astype({"seed": "Int64"} if "seed" in table else {})


def mean_over_seeds(metrics: pd.DataFrame) -> pd.DataFrame:
    """Average the measures of each patient over the seeds of a method.

    Parameters
    ----------
    metrics : DataFrame
        The columns split, method, patient, structure and those of `MEASURES`; a row a mask and structure.

    Returns
    -------
    DataFrame
        The measures, indexed by split, method, patient and structure. A value that any seed lacks is NaN.
    """
    groups = metrics.groupby(["split", "method", "patient", "structure"], sort=False)[list(MEASURES)]
    return groups.agg(lambda values: values.mean(skipna=False))
