"""The 17 segments as a bull's-eye: the apex in the middle, the base outside, the anterior wall at the top."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Wedge

from cardioseg.clinical import segments
from cardioseg.figures import style

# What is shown of the segments, by column: title, colours, and where they end; None takes the highest value.
PANELS: dict[str, tuple[str, str, float | None]] = {
    "scar_percent": ("scar (% of the segment)", "YlOrRd", 100),
    "transmurality_percent": ("transmurality (%)", "YlOrRd", 100),
    "thickness_mm": ("wall thickness (mm)", "YlGnBu", None),
    "mean_intensity": ("mean intensity", "gray", None),
}
NOT_AVAILABLE = "#dddddd"
# Letters of the title that fit beside each other, per inch.
LETTERS = 13


@style.styled
def figure(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw a bull's-eye for each of `PANELS` that any segment has.

    Parameters
    ----------
    rows : sequence of mapping
        See `segments.measure`. A segment whose value is NaN is grey.
    title : str
        Written above all, with the reason where there are no segments.

    Returns
    -------
    Figure
        The figure.
    """
    shown = [column for column in PANELS if any(not math.isnan(row[column]) for row in rows)] or ["thickness_mm"]
    notes = [f"segment {row['segment']}: {row['note']}" for row in rows if row["note"]]
    if len({row["note"] for row in rows}) == 1 and rows[0]["note"]:
        notes = [f"N/A: {rows[0]['note']}"]
    width = max(2.6 * len(shown), 5)
    lines = [line for text in (*title.split("\n"), *notes) for line in textwrap.wrap(text, int(LETTERS * width))]
    drawn = Figure(figsize=(width, 3.1 + 0.14 * (len(lines) - 1)), layout="constrained")
    for axis, column in zip(drawn.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        _bulls_eye(axis, rows, column)
    drawn.suptitle("\n".join(lines), fontsize=9, ha="left", x=0.01)
    return drawn


def _bulls_eye(axis: Axes, rows: Sequence[Mapping[str, Any]], column: str) -> None:
    name, colours, highest = PANELS[column]
    # Intensities may be negative.
    span = [0.0, *([row[column] for row in rows if not math.isnan(row[column])] or [1.0])]
    scale = ScalarMappable(Normalize(min(span), highest or max(span)), mpl.colormaps[colours])
    wedges = []
    for row in rows:
        number, value = row["segment"], row[column]
        inner, outer = _radii(number)
        low, high = segments.sector(number)
        missing = math.isnan(value)
        colour = NOT_AVAILABLE if missing else scale.to_rgba(value)
        wedges.append(Wedge((0, 0), outer, 180 - high, 180 - low, width=outer - inner, facecolor=colour))
        middle = math.radians(180 - (low + high) / 2)
        radius = (inner + outer) / 2 if number != segments.APEX else 0
        dark = not missing and sum(scale.to_rgba(value)[:3]) < 1.5
        axis.text(
            *(radius * math.cos(middle), radius * math.sin(middle), "N/A" if missing else _shown(value)),
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark else "black",
            in_layout=False,
        )
    # One collection is drawn faster than single patches; what lies within the axes need not be laid out.
    drawn = PatchCollection(wedges, match_original=True, edgecolor="black", lw=0.7, in_layout=False)
    axis.add_collection(drawn, autolim=False)
    for x, y, place, turned in ((0, 4.25, "anterior", 0), (0, -4.3, "inferior", 0), (-4.3, 0, "septal", 90)):
        axis.text(x, y, place, ha="center", va="center", rotation=turned, fontsize=7, in_layout=False)
    axis.text(4.3, 0, "lateral", ha="center", va="center", rotation=270, fontsize=7, in_layout=False)
    axis.set(xlim=(-4.6, 4.6), ylim=(-4.6, 4.6), aspect="equal", title=name)
    style.bare(axis)


def _shown(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _radii(number: int) -> tuple[int, int]:
    """The inner and outer radius of a segment's ring."""
    if number == segments.APEX:
        return 0, 1
    return (1, 2) if number > 12 else (2, 3) if number > 6 else (3, 4)
