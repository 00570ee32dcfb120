"""Which differences between methods are more than chance: paired tests over patients, corrected for their number."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

FEWEST_PATIENTS = 5
# Differences below this many decimals come from rounding, not from the masks.
DECIMALS = 9


def wilcoxon(differences: np.ndarray) -> float:
    """Test paired differences by the Wilcoxon signed-rank test.

    Differences of zero are dropped (Wilcoxon 1945).

    Parameters
    ----------
    differences : ndarray of shape (n,)
        Paired differences.

    Returns
    -------
    float
        Two-sided p: exact for few differences, by the normal approximation for many or many ties. NaN for fewer than
        five differences, or if all are zero.

    References
    ----------
    F. Wilcoxon, Biometrics Bulletin 1945;1:80-83.
    """
    differences = np.round(differences, DECIMALS)
    if len(differences) < FEWEST_PATIENTS or not differences.any():
        return float("nan")
    return float(stats.wilcoxon(differences[differences != 0]).pvalue)


def holm(p: Sequence[float]) -> np.ndarray:
    """Correct the p values of one family by Holm's step-down method.

    Parameters
    ----------
    p : sequence of float, shape (n,)
        The p values. NaN is not a test and does not count.

    Returns
    -------
    ndarray of shape (n,)
        The corrected values; NaN stays NaN.

    References
    ----------
    S. Holm, Scand J Statist 1979;6:65-70.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    corrected = np.array(p, float)
    tested = np.flatnonzero(~np.isnan(corrected))
    order = tested[np.argsort(corrected[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(factors * corrected[order]))
    return corrected


def compare(values: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Compare methods pairwise and test their differences.

    A patient counts in a pair if both methods, with all their seeds, have a value.

    Parameters
    ----------
    values : DataFrame
        The columns split, measure, structure, method, patient and value. The seeds of a method are several rows, and
        are averaged.
    pairs : sequence of (str, str)
        The pairs of methods. Methods without values are left out.

    Returns
    -------
    DataFrame
        One row per split, measure, structure and pair: split, measure, structure, method, compared_with, patients,
        median_difference (method minus compared_with), p (see `wilcoxon`), and p_holm, which is corrected over the
        pairs of one split, measure and structure.
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
