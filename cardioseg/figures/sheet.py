"""All slices of one image with the contours of its segmentation, so that a person can check the result at a glance."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cardioseg.core.volumes import Volume
from cardioseg.figures import style

COLUMNS = 6
GAP = 2  # pixels between slices
EVERYTHING = (slice(None), slice(None))


@style.styled
def figure(
    image: Volume, labels: np.ndarray, title: str, structures: Sequence[str], around: np.ndarray | None = None
) -> Figure:
    """Draw every slice around the labels, in the image's order. Without any label the whole slices are drawn.

    Slices lie as viewers show them, see `style.upright`. Letters on the first one say which sides of the patient its
    borders are.

    All slices form one picture, because one axis per slice would take longer to draw than the segmentation takes.

    Parameters
    ----------
    image : Volume of shape (z, y, x)
        The image.
    labels : ndarray of int, shape (z, y, x)
        The labels.
    title : str
        What stands above, in one or several lines.
    structures : sequence of str
        Names of the structures.
    around : ndarray of int, shape (z, y, x), optional
        Other labels, if the slices are to be drawn around those.

    Returns
    -------
    Figure
        The figure.
    """
    turn = style.upright(image)
    image, labels = turn.apply(image), turn.rearrange(labels)
    where = style.window(labels if around is None else turn.rearrange(around), image.spacing)
    grey = style.limits(image.array)
    shown = image.array[:, *where]
    height, width = shown.shape[1] + GAP, shown.shape[2] + GAP
    grid = Volume(mosaic(shown, grey[1])[np.newaxis], image.affine)
    rows, columns = grid.array.shape[1:]
    inches = 1.6 * COLUMNS * rows * image.spacing[1] / (columns * image.spacing[2])
    drawn = Figure(figsize=(1.6 * COLUMNS, 0.5 + 0.14 * title.count("\n") + inches), layout=style.tight_layout())
    axis = drawn.subplots()
    style.show(axis, grid, 0, EVERYTHING, grey)
    style.outline(axis, mosaic(labels[:, *where], 0), len(structures))
    for z in range(len(labels)):
        left, top = (z % COLUMNS + 0.03) * width, (z // COLUMNS + 0.03) * height
        axis.text(left, top, f"slice {z + 1}", color="white", fontsize=6.5, va="top", path_effects=style.EDGE)
    style.scale_bar(axis, image, where)
    places = (
        ("left", "center", 0.03, 0.5),
        ("right", "center", 0.97, 0.5),
        ("center", "top", 0.5, 0.03),
        ("center", "bottom", 0.5, 0.97),
    )
    for side, (ha, va, x, y) in zip(style.sides(image), places, strict=True):
        x, y = x * (width - GAP), y * (height - GAP)
        axis.text(x, y, side, color="white", fontsize=6.5, ha=ha, va=va, path_effects=style.EDGE)
    drawn.suptitle(title, fontsize=9, ha="left", x=0.01)
    style.legend(drawn, structures)
    return drawn


def mosaic(slices: np.ndarray, fill: float) -> np.ndarray:
    """Put slices side by side, `COLUMNS` per row.

    Parameters
    ----------
    slices : ndarray of shape (z, y, x)
        The slices.
    fill : float
        The value between the slices.

    Returns
    -------
    ndarray of shape (y, x)
        One picture.
    """
    rows = -(-len(slices) // COLUMNS)
    padding = [(0, rows * COLUMNS - len(slices)), (0, GAP), (0, GAP)]
    padded = np.pad(slices, padding, constant_values=fill)
    tiles = padded.reshape(rows, COLUMNS, *padded.shape[1:])
    return tiles.swapaxes(1, 2).reshape(rows * padded.shape[1], COLUMNS * padded.shape[2])
