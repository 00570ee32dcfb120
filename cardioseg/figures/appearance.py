"""How the structures look in source, target and synthetic target images (paper Fig. 1)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cardioseg.core.volumes import Volume
from cardioseg.figures import style

BINS = 40
# Intensities of the crops, see `cropping.crop_and_normalise`.
RANGE = (-1.0, 1.0)
LINES: tuple[dict[str, Any], ...] = (
    {"color": "0.45", "linestyle": (0, (4, 1.5))},
    {"color": "#882255", "linestyle": "-"},
    {"color": "black", "linestyle": "-"},
)


@dataclass(frozen=True)
class Kind:
    """One kind of image: an example, and the intensities of all of its volumes with labels.

    Attributes
    ----------
    image : Volume
        The example, a crop (z, y, x) in [-1, 1].
    labels : ndarray or None
        Its labels (z, y, x), if there are any.
    densities : ndarray
        Distributions of intensities (1 + structures, BINS) over [-1, 1]: in all structures together, then in each.
        Each volume counts the same, however large its heart, and each density has area 1. NaN for a structure that no
        volume has.
    """

    image: Volume
    labels: np.ndarray | None
    densities: np.ndarray


def describe(volumes: Iterable[tuple[Volume, np.ndarray | None]], structures: int, example: int) -> Kind:
    """Describe a kind of image by its volumes, one held at a time.

    Parameters
    ----------
    volumes : iterable of tuple
        Crops (z, y, x) in [-1, 1] with their labels (z, y, x), or None where they have none.
    structures : int
        Number of structures in the labels.
    example : int
        Which of the volumes is the example.

    Returns
    -------
    Kind
        The example and the distributions of intensities.
    """
    sums, counts = np.zeros((1 + structures, BINS)), np.zeros((1 + structures, 1))
    shown: tuple[Volume, np.ndarray | None] | None = None
    for index, (image, labels) in enumerate(volumes):
        if index == example:
            shown = image, labels
        if labels is None:
            continue
        for row in range(1 + structures):
            inside = image.array[labels == row if row else labels > 0]
            if inside.size:
                sums[row] += np.histogram(inside, BINS, RANGE)[0] / inside.size
                counts[row] += 1
    assert shown is not None
    width = (RANGE[1] - RANGE[0]) / BINS
    return Kind(*shown, np.divide(sums, counts * width, out=np.full_like(sums, np.nan), where=counts > 0))


@style.styled
def figure(kinds: Mapping[str, Kind], structures: Sequence[str]) -> Figure:
    """Draw an example of each kind of image, and below them the intensities in each structure.

    Parameters
    ----------
    kinds : mapping of str to Kind
        By name, see `describe`. The first kind has labels.
    structures : sequence of str
        Names of the structures.

    Returns
    -------
    Figure
        The figure.
    """
    drawn = Figure(figsize=(7.6, 4.9), layout="constrained")
    upper, lower = drawn.subfigures(2, 1, squeeze=False, height_ratios=[2.6, 2.3])[:, 0]
    first = next(kind.labels for kind in kinds.values() if kind.labels is not None)
    for axis, (name, kind) in zip(upper.subplots(1, len(kinds), squeeze=False)[0], kinds.items(), strict=True):
        turn = style.upright(kind.image)
        image, labels = turn.apply(kind.image), None if kind.labels is None else turn.rearrange(kind.labels)
        middle = style.middle(np.zeros(image.array.shape, bool) if labels is None else labels)
        where = style.window(turn.rearrange(first) if labels is None else labels, image.spacing)
        style.show(axis, image, middle, where, RANGE)
        if labels is not None:
            style.outline(axis, labels[middle][where], len(structures))
        style.scale_bar(axis, image, where)
        axis.set_title(name)
    style.legend(upper, structures)
    axes = lower.subplots(1, 1 + len(structures), squeeze=False, sharex=True, sharey=True)[0]
    width = (RANGE[1] - RANGE[0]) / BINS
    centres = np.linspace(RANGE[0] + width / 2, RANGE[1] - width / 2, BINS)
    for row, (axis, structure) in enumerate(zip(axes, ["all structures", *structures], strict=True)):
        for (name, kind), line in zip(kinds.items(), LINES, strict=False):
            if not np.isnan(kind.densities).all():
                axis.plot(centres, kind.densities[row], label=name, linewidth=1.5, **line)
        axis.set_title(structure)
        axis.set(xlim=RANGE, xticks=[-1, 0, 1], xlabel="normalised intensity")
        if row:
            axis.spines["bottom"].set(color=style.colour(row - 1), linewidth=3)
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("density")
    handles, labels_of_lines = axes[0].get_legend_handles_labels()
    lower.legend(handles, labels_of_lines, loc="outside lower center", ncols=len(handles), frameon=False)
    return drawn
