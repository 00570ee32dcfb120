"""Agreement of clinical quantities with those of the manual masks.

References
----------
J. M. Bland, D. G. Altman, Lancet 1986;1:307-310.
"""

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from cardioseg.evaluation.clinical import MANUAL, MASK

LIMITS = 1.96
POINTS, BIAS, BAND = "#2f6fde", "#222222", "#2f6fde"


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
    bias, sd : float
        In the unit of the differences; sd is NaN for a single patient.

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


def figure(path: Path | str, quantities: pd.DataFrame, titles: Mapping[str, str]) -> None:
    """Draw Bland-Altman plots of the split with the most patients, one row per quantity and one column per method.

    A volume is left out where the mass, a multiple of it, is shown.

    Parameters
    ----------
    path : Path or str
        The file to write, in the format of its suffix. The same quantities give the same bytes.
    quantities : DataFrame
        As from `clinical.quantities`.
    titles : mapping of str to str
        The methods to show, in order. Methods without values are left out.
    """
    pairs = differences(quantities)
    pairs = pairs[pairs["method"].isin(list(titles))]
    if pairs.empty:
        shown = plt.figure(figsize=(4, 1))
        shown.text(0.5, 0.5, "no patient with labels: nothing to compare", ha="center", va="center", fontsize=8)
        _save(shown, path)
        return
    split = pairs.groupby("split", sort=False)["patient"].nunique().idxmax()
    names = list(dict.fromkeys(pairs["quantity"]))
    names = [name for name in names if name.removesuffix("_volume_ml") + "_mass_g" not in names]
    pairs = pairs[pairs["split"] == split]
    methods = [method for method in titles if (pairs["method"] == method).any()]
    shown, axes = plt.subplots(
        len(names),
        len(methods),
        figsize=(1 + 2 * len(methods), 0.8 + 1.75 * len(names)),
        sharex="row",
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for row, quantity in enumerate(names):
        for column, method in enumerate(methods):
            _panel(axes[row, column], pairs[(pairs["quantity"] == quantity) & (pairs["method"] == method)])
            if row == 0:
                axes[row, column].annotate(
                    titles[method],
                    (0.5, 1),
                    (0, 16),
                    xycoords="axes fraction",
                    textcoords="offset points",
                    ha="center",
                    fontsize=8,
                    fontweight="bold",
                )
        *what, unit = quantity.split("_")
        axes[row, 0].set_ylabel(f"{' '.join(what)}\nmethod - manual ({unit})".replace("-", "\u2212"), fontsize=7)
    for column in range(len(methods)):
        axes[-1, column].set_xlabel("mean of method and manual", fontsize=7)
    patients = pairs["patient"].nunique()
    shown.suptitle(
        f"{split.capitalize()}, {patients} patient{'' if patients == 1 else 's'}: bias (solid), limits of agreement "
        "(dashed: bias \u00b1 1.96 SD); one point a mask",
        fontsize=8,
    )
    _save(shown, path)


def _panel(axis: plt.Axes, pairs: pd.DataFrame) -> None:
    axis.axhline(0, color="0.75", linewidth=0.8, zorder=0)
    axis.tick_params(labelsize=6)
    axis.spines[["top", "right"]].set_visible(False)
    if pairs.empty:
        axis.text(0.5, 0.5, "N/A", transform=axis.transAxes, ha="center", va="center", fontsize=7)
        return
    bias, sd = limits(pairs["patient"], pairs["difference"])
    axis.plot((pairs["value"] + pairs["manual"]) / 2, pairs["difference"], "o", color=POINTS, markersize=3, alpha=0.6)
    axis.axhline(bias, color=BIAS, linewidth=1)
    text = f"{bias:+.1f}"
    if np.isfinite(sd):
        for limit in (bias - LIMITS * sd, bias + LIMITS * sd):
            axis.axhline(limit, color=BIAS, linewidth=0.8, linestyle="--")
        axis.axhspan(bias - LIMITS * sd, bias + LIMITS * sd, color=BAND, alpha=0.07, linewidth=0, zorder=0)
        text += f" \u00b1 {LIMITS * sd:.1f}"
    axis.set_title(text.replace("-", "\u2212"), fontsize=7, pad=2)


def _save(shown: plt.Figure, path: Path | str) -> None:
    with plt.rc_context({"svg.hashsalt": "bland-altman"}):
        shown.savefig(path, dpi=130, metadata={"Date": None} if Path(path).suffix == ".svg" else None)
    plt.close(shown)
