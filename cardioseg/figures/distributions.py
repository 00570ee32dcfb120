"""The measures of every method: their spread over patients, not only their mean."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from cardioseg.evaluation.measures import MEASURES, mean_over_seeds
from cardioseg.figures import style

# The first split has hollow boxes, the second has filled ones.
FILLS = ("white", "0.8")
TICKS_MM = [0, 0.5, 1, 2, 5, 10, 20, 50, 100]


@style.styled
def figure(metrics: pd.DataFrame, methods: Mapping[str, str]) -> Figure:
    """Draw box plots with one point per patient: one row per measure, one column per structure.

    Boxes are quartiles with the median. Whiskers reach to the farthest patient within 1.5 quartile ranges. The number
    of values that are not available is written above.

    Parameters
    ----------
    metrics : DataFrame
        The columns method, split, patient, structure and those of `MEASURES`. The seeds of a method are averaged.
    methods : mapping of str to str
        Titles by name, in the order of the boxes.

    Returns
    -------
    Figure
        The figure.
    """
    table = mean_over_seeds(metrics).reorder_levels(["split", "method", "structure", "patient"]).sort_index()
    structures, splits = list(dict.fromkeys(metrics["structure"])), list(dict.fromkeys(metrics["split"]))
    shown = {name: title for name, title in methods.items() if name in set(metrics["method"])}
    width = 0.8 + len(structures) * (0.35 + 0.17 * len(shown) * (1 + len(splits)))
    drawn = Figure(figsize=(max(width, 6), 2.9 * len(MEASURES)), layout="constrained")
    axes = drawn.subplots(len(MEASURES), len(structures), squeeze=False, sharex=True, sharey="row")
    for row, measure in zip(axes, MEASURES.values(), strict=True):
        for column, (axis, structure) in enumerate(zip(row, structures, strict=True)):
            for index, split in enumerate(splits):
                for place, method in enumerate(shown):
                    values = _values(table[measure.name], (split, method, structure))
                    offset = 0.8 * ((index + 0.5) / len(splits) - 0.5)
                    _box(axis, place + offset, 0.62 / len(splits), values, style.colour(column), FILLS[index % 2])
            axis.set_xlim(-0.6, len(shown) - 0.4)
            axis.grid(axis="y", color="0.9", linewidth=0.6)
            axis.set_axisbelow(True)
        row[0].set_ylabel(measure.title)
    for axis, structure in zip(axes[0], structures, strict=True):
        axis.set_title(structure)
    for row, measure in zip(axes, MEASURES.values(), strict=True):
        # Leaves room for the number of values that are not available.
        missing = table[measure.name].isna().any()
        if measure.is_overlap:
            row[0].set_ylim(-0.02, 1.2 if missing else 1.03)
            continue
        for axis in row:
            axis.set_yscale("symlog", linthresh=1)
            axis.set_yticks(TICKS_MM, [f"{tick:g}" for tick in TICKS_MM])
            axis.yaxis.set_minor_locator(NullLocator())
        row[0].set_ylim(0, np.nanmax([1, *table[measure.name]]) * (2.5 if missing else 1.2))
    for axis in axes[-1]:
        labels = [style.wrapped(title, 32) for title in shown.values()]
        axis.set_xticks(range(len(shown)), labels, rotation=45, ha="right", rotation_mode="anchor")
    drawn.align_ylabels(axes[:, 0])
    patients = {split: len(set(metrics.loc[metrics["split"] == split, "patient"])) for split in splits}
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker="s",
            markersize=8,
            color="0.3",
            markerfacecolor=fill,
            label=f"{split} ({count})",
        )
        for (split, count), fill in zip(patients.items(), FILLS, strict=False)
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return drawn


def _values(column: pd.Series, key: tuple[str, str, str]) -> np.ndarray:
    """Return the values of the patients of a split, method and structure; none where there is no such patient."""
    return column.xs(key).to_numpy(float) if key in column.index.droplevel("patient") else np.empty(0)


def _box(axis: Axes, place: float, width: float, values: np.ndarray, colour: str, fill: str) -> None:
    known = np.sort(values[~np.isnan(values)])
    if len(known):
        line = {"color": "black", "linewidth": 0.8}
        axis.boxplot(
            known,
            positions=[place],
            widths=width,
            manage_ticks=False,
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": fill, "edgecolor": "black", "linewidth": 0.8},
            medianprops={"color": "black", "linewidth": 1.6},
            whiskerprops=line,
            capprops=line,
        )
        # Multiples of the golden ratio spread any number of points evenly, so that similar values do not overlap.
        spread = (np.arange(len(known)) * 0.618034 % 1 - 0.5) * 0.7 * width
        axis.plot(
            place + spread,
            known,
            linestyle="",
            marker="o",
            markersize=3.2,
            color=colour,
            markeredgecolor="black",
            markeredgewidth=0.4,
            zorder=3,
        )
    missing = len(values) - len(known)
    if missing:
        axis.text(
            place,
            0.985,
            f"{missing} N/A",
            rotation=90,
            ha="center",
            va="top",
            fontsize=6.5,
            transform=axis.get_xaxis_transform(),
        )
