"""All slices of one image with the contours of its segmentation, for a look at the result."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cardioseg.figures import style
from cardioseg.volumes import Volume

COLUMNS = 6


@style.styled
def figure(image: Volume, labels: np.ndarray, title: str, structures: Sequence[str]) -> Figure:
    """Every slice about the labels (z, y, x), in the image's order, under a title; everything without any label."""
    rows = -(-len(labels) // COLUMNS)
    lines = 1 + title.count("\n")
    drawn = Figure(figsize=(1.6 * COLUMNS, 0.35 + 0.14 * lines + 1.6 * rows), layout=style.close())
    where, grey = style.window(labels, image.spacing), style.limits(image.array)
    axes = drawn.subplots(rows, COLUMNS, squeeze=False)
    for z, axis in enumerate(axes.flat):
        style.bare(axis)
        if z < len(labels):
            style.show(axis, image, z, where, grey)
            style.outline(axis, labels[z][where], len(structures))
            style.write(axis, f"slice {z + 1}")
    style.scale_bar(axes[0, 0], image, where)
    drawn.suptitle(title, fontsize=9, ha="left", x=0.01)
    style.legend(drawn, structures)
    return drawn
