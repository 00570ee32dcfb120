"""The losses of every network during its training."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from cardioseg.figures import style

LOSSES = ("#000000", *style.COLOURS)
CLOSE = (1, 1.5, 2, 3, 5, 7)
# Letters of the titles that fit beside each other.
LETTERS = 96
# Shorter histories are drawn with points.
FEW = 10


@style.styled
def figure(
    localisation: pd.DataFrame, translation: pd.DataFrame, segmentation: Mapping[str, Mapping[str, pd.DataFrame]]
) -> Figure:
    """Draw the losses of all trainings.

    The histories are those of `training_loop.write_history`: `iteration`, then the mean of each loss since the last
    row. A last row of less than half as many iterations is left out, because its mean scatters more. A translation that
    is not trained has no losses, which its panel says.

    Parameters
    ----------
    localisation, translation : DataFrame
        One history each.
    segmentation : mapping of str to mapping of str to DataFrame
        By network and phase, the history of each cascade.

    Returns
    -------
    Figure
        The figure.
    """
    drawn = Figure(figsize=(8.5, 5), layout="constrained")
    upper, lower = drawn.subfigures(2, 1, squeeze=False)[:, 0]
    narrow, wide = upper.subplots(1, 2, width_ratios=[1, 2])
    _panel(narrow, "localisation", {"loss": _by_iteration(localisation)["loss"]}, ["black"])
    losses = _by_iteration(translation)
    if len(losses):
        _panel(wide, "translation", {str(name): losses[name] for name in losses}, LOSSES)
        wide.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    else:
        style.bare(wide)
        wide.set_title("translation")
        wide.text(0.5, 0.5, "not trained", transform=wide.transAxes, ha="center", va="center")
    axes = lower.subplots(1, len(segmentation), squeeze=False, sharey=True)[0]
    for axis, (network, members) in zip(axes, segmentation.items(), strict=True):
        curves = {member: _by_iteration(history)["loss"] for member, history in members.items()}
        colours = [mpl.colormaps["viridis"](0.9 * index / len(curves)) for index in range(len(curves))]
        _panel(axis, style.wrapped(network, LETTERS // len(segmentation)), curves, colours)
        axis.label_outer()
        axis.set_xlabel("iteration")
    lower.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=8, frameon=False)
    return drawn


def _by_iteration(history: pd.DataFrame) -> pd.DataFrame:
    counts = history["iteration"].diff().to_numpy()
    rest = len(history) > 2 and counts[-1] < counts[-2] / 2
    return history.set_index("iteration").iloc[: -1 if rest else None]


def _panel(axis: Axes, title: str, curves: Mapping[str, pd.Series], colours: Sequence[Any]) -> None:
    for index, (name, curve) in enumerate(curves.items()):
        marker = "" if len(curve) > FEW else "."
        axis.plot(curve.index, curve, label=name, color=colours[index % len(colours)], linewidth=1.2, marker=marker)
    axis.set(title=title, xlabel="iteration", ylabel="loss", yscale="log")
    # Ticks are plain numbers, closer together if the axis spans less than two decades.
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if np.ptp(np.log10(axis.get_ylim())) > 2 else CLOSE))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_locator(NullLocator())
