"""Contours of every method on slices of patients (paper Fig. 4)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from cardioseg.core.volumes import Volume
from cardioseg.figures import style

LEVELS = 3


@style.styled
def figure(
    patients: Mapping[str, tuple[Volume, Mapping[str, np.ndarray]]],
    titles: Sequence[str],
    reference: str,
    structures: Sequence[str],
) -> Figure:
    """Draw slices from apex to base, one per row: the image alone, then with the contours of each method.

    Parameters
    ----------
    patients : mapping of str to (Volume, mapping of str to ndarray), shape (z, y, x)
        By name, the image and its labels by title. Where a patient has no labels of a title, N/A is shown.
    titles : sequence of str
        The titles to show, one per column.
    reference : str
        The title whose labels determine slices and window. Every patient has such labels.
    structures : sequence of str
        Names of the structures.

    Returns
    -------
    Figure
        The figure.
    """
    rows = [(name, z) for name, (_, labels) in patients.items() for z in style.levels(labels[reference], LEVELS)]
    drawn = Figure(figsize=(0.5 + 1.3 * (1 + len(titles)), 0.6 + 1.32 * len(rows)), layout=style.tight_layout())
    axes = drawn.subplots(len(rows), 1 + len(titles), squeeze=False)
    for row, (name, z) in zip(axes, rows, strict=True):
        stored, labels = patients[name]
        turn = style.upright(stored)
        image = turn.apply(stored)
        where, grey = style.window(turn.rearrange(labels[reference]), image.spacing), style.limits(image.array)
        for axis, title in zip(row, ["image", *titles], strict=True):
            style.show(axis, image, z, where, grey)
            if title in labels:
                style.outline(axis, turn.rearrange(labels[title][z])[where], len(structures))
            elif title != "image":
                style.write(axis, "N/A")
        style.scale_bar(row[0], image, where)
        row[0].set_ylabel(f"patient {name}\nslice {z + 1} of {len(image.array)}")
    for axis, title in zip(axes[0], ["image", *titles], strict=True):
        axis.set_title(style.wrapped(title, 14))
    style.legend(drawn, structures)
    return drawn
