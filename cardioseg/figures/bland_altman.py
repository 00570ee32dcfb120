"""Bland-Altman plots: how far clinical quantities are from those of the manual masks."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cardioseg.evaluation.bland_altman import LIMITS, differences, limits
from cardioseg.figures import style

POINTS, BIAS = "#2f6fde", "#222222"


@style.styled
def figure(quantities: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw Bland-Altman plots of the split with the most patients, one row per quantity and one column per method.

    A volume is left out where the mass, a multiple of it, is shown.

    Parameters
    ----------
    quantities : DataFrame
        As from `clinical.quantities`.
    titles : mapping of str to str
        The titles of the methods to show, by name, in order. Methods without values are left out.

    Returns
    -------
    Figure
        The figure.
    """
    pairs = differences(quantities)
    pairs = pairs[pairs["method"].isin(list(titles))]
    if pairs.empty:
        drawn = Figure(figsize=(4, 1))
        drawn.text(0.5, 0.5, "no patient with labels: nothing to compare", ha="center", va="center")
        return drawn
    split = pairs.groupby("split", sort=False)["patient"].nunique().idxmax()
    names = list(dict.fromkeys(pairs["quantity"]))
    names = [name for name in names if name.removesuffix("_volume_ml") + "_mass_g" not in names]
    pairs = pairs[pairs["split"] == split]
    methods = [method for method in titles if (pairs["method"] == method).any()]
    drawn = Figure(figsize=(1 + 2 * len(methods), 0.8 + 1.75 * len(names)), layout="constrained")
    axes = drawn.subplots(len(names), len(methods), sharex="row", sharey="row", squeeze=False)
    for row, quantity in zip(axes, names, strict=True):
        for axis, method in zip(row, methods, strict=True):
            _panel(axis, pairs[(pairs["quantity"] == quantity) & (pairs["method"] == method)])
        *what, unit = quantity.split("_")
        row[0].set_ylabel(f"{' '.join(what)}\nmethod - manual ({unit})".replace("-", "\u2212"))
    for axis, method in zip(axes[0], methods, strict=True):
        axis.annotate(
            style.wrapped(titles[method], 28),
            (0.5, 1),
            (0, 16),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            fontweight="bold",
        )
    for axis in axes[-1]:
        axis.set_xlabel("mean of method and manual")
    patients = pairs["patient"].nunique()
    drawn.suptitle(
        f"{split.capitalize()}, {patients} patient{'' if patients == 1 else 's'}: bias (solid), limits of agreement "
        "(dashed: bias \u00b1 1.96 SD); one point a mask",
        fontsize=9,
    )
    return drawn


def _panel(axis: Axes, pairs: pd.DataFrame) -> None:
    axis.axhline(0, color="0.75", linewidth=0.8, zorder=0)
    if pairs.empty:
        axis.text(0.5, 0.5, "N/A", transform=axis.transAxes, ha="center", va="center")
        return
    bias, sd = limits(pairs["patient"], pairs["difference"])
    axis.plot((pairs["value"] + pairs["manual"]) / 2, pairs["difference"], "o", color=POINTS, markersize=3, alpha=0.6)
    axis.axhline(bias, color=BIAS, linewidth=1)
    text = f"{bias:+.1f}"
    if np.isfinite(sd):
        lower, upper = bias - LIMITS * sd, bias + LIMITS * sd
        for limit in (lower, upper):
            axis.axhline(limit, color=BIAS, linewidth=0.8, linestyle="--")
        axis.axhspan(lower, upper, color=POINTS, alpha=0.07, linewidth=0, zorder=0)
        text += f" \u00b1 {LIMITS * sd:.1f}"
    axis.set_title(text.replace("-", "\u2212"), fontsize=8, pad=2)
