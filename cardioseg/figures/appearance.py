"""How the structures look in source, target and synthetic target images (paper Fig. 1)."""

from collections.abc import Iterable, Mapping, Sequence
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


def densities(volumes: Iterable[tuple[np.ndarray, np.ndarray]], structures: int) -> np.ndarray:
    """Compute distributions of intensities over [-1, 1].

    Each volume counts the same, however large its heart is.

    Parameters
    ----------
    volumes : iterable of (ndarray, ndarray), shape (z, y, x)
        Images and labels.
    structures : int
        The number of structures.

    Returns
    -------
    ndarray, shape (1 + structures, BINS)
        Densities of area 1: in all structures together, then in each. NaN for a structure that no volume has.
    """
    sums, counts = np.zeros((1 + structures, BINS)), np.zeros((1 + structures, 1))
    for image, labels in volumes:
        for row in range(1 + structures):
            inside = image[labels == row if row else labels > 0]
            if inside.size:
                sums[row] += np.histogram(inside, BINS, RANGE)[0] / inside.size
                counts[row] += 1
    width = (RANGE[1] - RANGE[0]) / BINS
    return np.divide(sums, counts * width, out=np.full_like(sums, np.nan), where=counts > 0)


@style.styled
def figure(
    examples: Mapping[str, tuple[Volume, np.ndarray | None]],
    distributions: Mapping[str, np.ndarray],
    structures: Sequence[str],
) -> Figure:
    """Draw an example of each kind of image, and below them the intensities in each structure.

    Parameters
    ----------
    examples : mapping of str to (Volume, ndarray or None), shape (z, y, x)
        By kind, a crop with intensities in [-1, 1], and its labels if there are any. The first kind has labels.
    distributions : mapping of str to ndarray
        By kind, what `densities` returns.
    structures : sequence of str
        Names of the structures.
    """
    drawn = Figure(figsize=(7.6, 4.9), layout="constrained")
    upper, lower = drawn.subfigures(2, 1, squeeze=False, height_ratios=[2.6, 2.3])[:, 0]
    first = next(labels for _, labels in examples.values() if labels is not None)
    for axis, (kind, (image, labels)) in zip(
        upper.subplots(1, len(examples), squeeze=False)[0], examples.items(), strict=True
    ):
        middle = style.middle(np.zeros(image.array.shape, bool) if labels is None else labels)
        where = style.window(first if labels is None else labels, image.spacing)
        style.show(axis, image, middle, where, RANGE)
        if labels is not None:
            style.outline(axis, labels[middle][where], len(structures))
        style.scale_bar(axis, image, where)
        axis.set_title(kind)
    style.legend(upper, structures)
    axes = lower.subplots(1, 1 + len(structures), squeeze=False, sharex=True, sharey=True)[0]
    width = (RANGE[1] - RANGE[0]) / BINS
    centres = np.linspace(RANGE[0] + width / 2, RANGE[1] - width / 2, BINS)
    for row, (axis, structure) in enumerate(zip(axes, ["all structures", *structures], strict=True)):
        for (kind, density), line in zip(distributions.items(), LINES, strict=False):
            axis.plot(centres, density[row], label=kind, linewidth=1.5, **line)
        axis.set_title(structure)
        axis.set(xlim=RANGE, xticks=[-1, 0, 1], xlabel="normalised intensity")
        if row:
            axis.spines["bottom"].set(color=style.colour(row - 1), linewidth=3)
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("density")
    handles, labels_of_lines = axes[0].get_legend_handles_labels()
    lower.legend(handles, labels_of_lines, loc="outside lower center", ncols=len(handles), frameon=False)
    return drawn
