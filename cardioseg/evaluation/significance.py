"""Which differences between methods are more than chance: paired tests over patients, corrected for their number."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

FEWEST_PATIENTS = 5
# Differences below this many decimals come from rounding, not from the masks.
DECIMALS = 9


def wilcoxon(differences: np.ndarray) -> float:
    """Two-sided p of the Wilcoxon signed-rank test of paired differences; NaN for fewer than five, or if all are zero.

    Differences of zero are dropped (Wilcoxon 1945). The p is exact for few differences; for many, or many with ties, it
    is that of the normal approximation.
    """
    differences = np.round(differences, DECIMALS)
    if len(differences) < FEWEST_PATIENTS or not differences.any():
        return float("nan")
    return float(stats.wilcoxon(differences[differences != 0]).pvalue)


def holm(p: Sequence[float]) -> np.ndarray:
    """The p values of one family, corrected by Holm's step-down method (Holm 1979); NaN stays and does not count."""
    corrected = np.array(p, float)
    tested = np.flatnonzero(~np.isnan(corrected))
    order = tested[np.argsort(corrected[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(factors * corrected[order]))
    return corrected


def compare(values: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Paired differences between methods and their significance, a row a split, measure, structure and pair.

    values: the columns split, measure, structure, method, patient, value; several rows of these are members of a method
    (seeds) and are averaged. A patient counts in a pair where both methods, all members of each, have a value.

    pairs: methods to compare, (one, other); those of which there are no values are left out.

    Returns the columns split, measure, structure, method, compared_with, patients, median_difference (of method minus
    compared_with), p (see `wilcoxon`) and p_holm, corrected over the pairs of one split, measure and structure.
    """
    columns = ["method", "compared_with", "patients", "median_difference", "p"]
    family = ["split", "measure", "structure"]
    per_patient = (
        values.groupby([*family, "patient", "method"], sort=False)["value"]
        .agg(lambda members: members.mean(skipna=False))
        .unstack("method")
    )
    tables = []
    for names, patients in per_patient.groupby(level=family, sort=False):
        rows = []
        for method, other in pairs:
            if method in patients and other in patients:
                differences = (patients[method] - patients[other]).dropna().to_numpy()
                median = np.median(differences) if len(differences) else np.nan
                rows.append((method, other, len(differences), median, wilcoxon(differences)))
        table = pd.DataFrame(rows, columns=columns)
        tables.append(table.assign(p_holm=holm(table["p"].to_list()), **dict(zip(family, names, strict=True))))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*family, *columns, "p_holm"])
    return table[[*family, *columns, "p_holm"]]
