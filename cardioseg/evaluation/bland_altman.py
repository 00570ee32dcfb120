"""Agreement of clinical quantities with those of the manual masks.

References
----------
J. M. Bland, D. G. Altman, Lancet 1986;1:307-310.
"""

import numpy as np
import pandas as pd

from cardioseg.evaluation.clinical import MANUAL, MASK

LIMITS = 1.96


def differences(quantities: pd.DataFrame) -> pd.DataFrame:
    """Put each mask's quantities beside those of the manual mask.

    Parameters
    ----------
    quantities : DataFrame
        As from `clinical.quantities`.

    Returns
    -------
    DataFrame
        One row per mask and quantity that both masks have: split, method, quantity, patient, seed, value, manual,
        difference (value minus manual).
    """
    long = quantities.melt(MASK, var_name="quantity", value_name="value")
    manual = long[long["method"] == MANUAL].rename(columns={"value": "manual"})
    paired = long[long["method"] != MANUAL].merge(
        manual[["split", "patient", "quantity", "manual"]], on=["split", "patient", "quantity"]
    )
    paired["difference"] = paired["value"] - paired["manual"]
    columns = ["split", "method", "quantity", "patient", "seed", "value", "manual", "difference"]
    return paired.dropna(subset="difference")[columns].reset_index(drop=True)


def limits(patients: pd.Series, differences: pd.Series) -> tuple[float, float]:
    """Compute the bias and the standard deviation of differences between a method and the manual masks.

    A patient may have several masks (seeds). The bias is then the mean over patients of each patient's mean. The
    variance is that of a single mask: the variance between the patients' means, plus 1 - mean(1 / masks) times the
    variance within patients (Bland and Altman 2007). If every patient has one mask, both are the usual ones.

    Parameters
    ----------
    patients : Series of str, shape (n,)
        The patient of each difference.
    differences : Series of float, shape (n,)
        Differences, method minus manual.

    Returns
    -------
    bias : float
        Mean over the patients, in the unit of the differences.
    sd : float
        Standard deviation of a single mask, in the same unit; NaN for a single patient.

    References
    ----------
    J. M. Bland, D. G. Altman, J Biopharm Stat 2007;17:571-582, section 3.
    """
    of_patient = differences.groupby(patients.to_numpy(), sort=False)
    means, masks = of_patient.mean(), of_patient.count()
    variance = means.var()
    repeated = int((masks - 1).sum())
    if repeated:
        residual = differences - of_patient.transform("mean")
        variance += (1 - (1 / masks).mean()) * float((residual**2).sum()) / repeated
    return float(means.mean()), float(np.sqrt(variance))


def agreement(quantities: pd.DataFrame) -> pd.DataFrame:
    """Compute the bias and the limits of agreement of every method and quantity.

    Parameters
    ----------
    quantities : DataFrame
        As from `clinical.quantities`.

    Returns
    -------
    DataFrame
        One row per split, method and quantity: split, method, quantity, patients, bias (method minus manual), sd, lower
        and upper (bias -/+ 1.96 sd), all for one mask of the method (see `limits`).
    """
    columns = ["split", "method", "quantity", "patients", "bias", "sd", "lower", "upper"]
    rows = []
    for names, pairs in differences(quantities).groupby(["split", "method", "quantity"], sort=False):
        bias, sd = limits(pairs["patient"], pairs["difference"])
        rows.append((*names, pairs["patient"].nunique(), bias, sd, bias - LIMITS * sd, bias + LIMITS * sd))
    return pd.DataFrame(rows, columns=columns)
