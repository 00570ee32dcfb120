"""What the figures share: colours, slices, contours, and files that are the same on every run."""

import textwrap
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from cardioseg.core.turns import AS_STORED, Turn, nearest
from cardioseg.core.volumes import NO_GEOMETRY, Volume

# Colours that colour-blind readers can tell apart (Okabe and Ito 2008); the first ones are bright on grey images.
COLOURS = ("#e8601c", "#56b4e9", "#f0c929", "#cc79a7", "#009e73", "#0072b2")
DPI = 110
# As small as at zlib's own level for grey images with contours, in a third of the time.
COMPRESSION = 3
SCALE_BAR_MM = 20
MARGIN_MM = 12
Place = Literal["outside lower center", "lower left"]
# The patient's sides in which coordinates grow and fall: right and left, anterior and posterior, superior and inferior.
SIDES = ("RL", "AP", "SI")
# Where x and y go in a viewer: to the left and to the back, and down and to the back. In the short axis the right
# ventricle is then on the left and the inferior wall below, as in a bull's-eye.
VIEWED = np.array([[-1, -1, 0], [0, -0.5, -1]])
# A black edge makes white lines and letters legible on any grey.
EDGE = (withStroke(linewidth=1.5, foreground="black"),)

# A decorator: the function draws with these settings, and the global ones stay. Names are text, never formulae.
styled = mpl.rc_context(
    {
        "font.size": 8,
        "axes.titlesize": 9,
        "axes.labelsize": 8,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "legend.fontsize": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.parse_math": False,
        "svg.hashsalt": "cardioseg",
    }
)


@styled
def save(figure: Figure, paths: Iterable[Path | str]) -> None:
    """Write a figure to files. The same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
        The figure.
    paths : iterable of Path or str
        Files whose names end in .png or .svg.
    """
    figure.dpi = DPI
    for path in paths:
        with warnings.catch_warnings():  # names may have characters that the font lacks, which are drawn as boxes
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            # Unlike `savefig`, these draw once.
            if Path(path).suffix == ".svg":
                FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})
            else:
                FigureCanvasAgg(figure).print_png(path, pil_kwargs={"compress_level": COMPRESSION})
        figure.set_layout_engine("none")  # the first file's layout, which takes time, serves for all


def colour(structure: int) -> str:
    """Return the colour that a structure has in every figure.

    Parameters
    ----------
    structure : int
        The structure, counted from 0.

    Returns
    -------
    str
        The colour as matplotlib names it.
    """
    return COLOURS[structure % len(COLOURS)]


def rgb(structure: int) -> tuple[int, int, int]:
    """Return the colour of a structure as numbers.

    Parameters
    ----------
    structure : int
        The structure, counted from 0.

    Returns
    -------
    tuple of int
        Red, green and blue, from 0 to 255.
    """
    red, green, blue = (round(255 * part) for part in to_rgb(colour(structure)))
    return red, green, blue


def tight_layout() -> ConstrainedLayoutEngine:
    """Make a layout that puts images close to each other.

    Returns
    -------
    ConstrainedLayoutEngine
        The layout, for one figure.
    """
    return ConstrainedLayoutEngine(w_pad=0.015, h_pad=0.02, wspace=0, hspace=0)


def levels(labels: np.ndarray, count: int) -> list[int]:
    """Choose slices evenly from near the apex to near the base.

    Parameters
    ----------
    labels : ndarray of shape (z, y, x)
        Labels. The apex is the end where they are smaller. Without any label the whole stack is used.
    count : int
        The number of slices wanted.

    Returns
    -------
    list of int
        Different slices, at most `count`.
    """
    areas = np.count_nonzero(labels, axis=(1, 2))
    inside = np.flatnonzero(areas) if areas.any() else np.arange(len(labels))
    margin = len(inside) // 8
    chosen = inside[np.linspace(margin, len(inside) - 1 - margin, count).astype(int)]
    found = [int(z) for z in dict.fromkeys(chosen.tolist())]
    return found if areas[found[0]] <= areas[found[-1]] else found[::-1]


def middle(labels: np.ndarray) -> int:
    """Choose a slice in the middle of a mask.

    Parameters
    ----------
    labels : ndarray of int or bool, shape (z, y, x)
        The mask.

    Returns
    -------
    int
        The index of the middle one of the three slices that `levels` chooses.
    """
    found = levels(labels, 3)
    return found[len(found) // 2]


def window(labels: np.ndarray, spacing: tuple[float, float, float]) -> tuple[slice, slice]:
    """Find a square in the plane around the labels, with a margin.

    Parameters
    ----------
    labels : ndarray of shape (z, y, x)
        The labels.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).

    Returns
    -------
    tuple of slice
        Rows and columns; all of them if there is no label.
    """
    extent = []
    for axis in (1, 2):
        found = np.flatnonzero(labels.any(axis=(0, 3 - axis)))
        if not len(found):
            return slice(None), slice(None)
        extent.append((float(found[0] + found[-1]) / 2 * spacing[axis], float(np.ptp(found)) * spacing[axis]))
    half = 0.6 * max(length for _, length in extent) + MARGIN_MM
    rows, columns = (
        _within(middle / spacing[axis], half / spacing[axis], labels.shape[axis])
        for axis, (middle, _) in enumerate(extent, start=1)
    )
    return rows, columns


def limits(image: np.ndarray) -> tuple[float, float]:
    """Choose the intensities that are shown as black and white.

    Parameters
    ----------
    image : ndarray
        Intensities.

    Returns
    -------
    low : float
        The 1st percentile.
    high : float
        The 99.5th percentile.
    """
    low, high = np.percentile(image, [1, 99.5])
    return float(low), float(high)


def show(axis: Axes, image: Volume, z: int, where: tuple[slice, slice], grey: tuple[float, float]) -> None:
    """Draw a part of one slice of an image in grey.

    Parameters
    ----------
    axis : Axes
        Where to draw.
    image : Volume of shape (z, y, x)
        The image.
    z : int
        The slice.
    where : tuple of slice
        Rows and columns.
    grey : tuple of float
        Intensities that are shown as black and white.
    """
    axis.imshow(
        image.array[z][where],
        cmap="gray",
        vmin=grey[0],
        vmax=grey[1],
        interpolation="bilinear",
        aspect=image.spacing[1] / image.spacing[2],
    )
    bare(axis)


def bare(axis: Axes) -> None:
    """Remove ticks and frame.

    Parameters
    ----------
    axis : Axes
        Where to remove them.
    """
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def outline(axis: Axes, labels: np.ndarray, structures: int) -> None:
    """Draw the contours of one slice's labels, the first structure last, so that it is seen where two meet.

    Parameters
    ----------
    axis : Axes
        Where to draw.
    labels : ndarray of int, shape (y, x)
        The labels.
    structures : int
        Number of structures.
    """
    for index in range(structures, 0, -1):
        if (labels == index).any():
            axis.contour(labels == index, [0.5], colors=colour(index - 1), linewidths=1.1)


def scale_bar(axis: Axes, image: Volume, where: tuple[slice, slice]) -> None:
    """Draw a bar of 20 mm in the lower left corner.

    Parameters
    ----------
    axis : Axes
        Where to draw.
    image : Volume
        The image that the axis shows.
    where : tuple of slice
        The rows and columns that it shows.
    """
    rows, columns = image.array[0][where].shape
    left, low = 0.05 * columns, 0.94 * rows
    axis.plot(
        [left, left + SCALE_BAR_MM / image.spacing[2]], [low, low], color="white", linewidth=1.6, path_effects=EDGE
    )
    axis.text(
        *(left, low - 0.03 * rows, f"{SCALE_BAR_MM} mm"), color="white", fontsize=6.5, va="bottom", path_effects=EDGE
    )


def upright(image: Volume) -> Turn:
    """Find the turn after which an image's slices lie as viewers show them.

    Parameters
    ----------
    image : Volume of shape (z, y, x)
        The image.

    Returns
    -------
    Turn
        The turn that brings the image nearest to `VIEWED`, by its header; none where the header has no directions.
    """
    return AS_STORED if NO_GEOMETRY in image.notes else nearest(image.affine, VIEWED)


def sides(image: Volume) -> tuple[str, str, str, str]:
    """Return which sides of the patient a slice shows at its borders, by the header, as viewers write them.

    Parameters
    ----------
    image : Volume of shape (z, y, x)
        The image.

    Returns
    -------
    tuple of str
        Left, right, top and bottom, in letters of `SIDES`: that of the nearest side first, and a second one where it is
        at least half as near. Empty where the header has no directions.
    """
    if NO_GEOMETRY in image.notes:
        return "", "", "", ""
    x, y = image.affine[:3, 0], image.affine[:3, 1]
    return _letters(-x), _letters(x), _letters(-y), _letters(y)


def _letters(direction: np.ndarray) -> str:
    shares = np.abs(direction) / np.abs(direction).max()
    nearest = [axis for axis in np.argsort(-shares, kind="stable")[:2] if shares[axis] >= 0.5]
    return "".join(SIDES[axis][0 if direction[axis] > 0 else 1] for axis in nearest)


def wrapped(title: str, width: int) -> str:
    """Break a title into lines, between words.

    Parameters
    ----------
    title : str
        The title.
    width : int
        The largest number of characters in a line.

    Returns
    -------
    str
        The title with line breaks.
    """
    return textwrap.fill(title, width, break_on_hyphens=False)


def write(axis: Axes, text: str) -> None:
    """Write a few words in the upper left corner.

    Parameters
    ----------
    axis : Axes
        Where to write.
    text : str
        The words.
    """
    axis.text(*(0.04, 0.96, text), color="white", fontsize=6.5, va="top", path_effects=EDGE, transform=axis.transAxes)


def legend(figure: Figure | SubFigure, structures: Sequence[str], place: Place = "outside lower center") -> None:
    """Draw a legend of the structures' colours.

    Parameters
    ----------
    figure : Figure or SubFigure
        Where to draw.
    structures : sequence of str
        Names of the structures.
    place : str
        What matplotlib calls `loc`.
    """
    lines = [Line2D([], [], color=colour(index), label=name) for index, name in enumerate(structures)]
    figure.legend(handles=lines, loc=place, ncols=len(lines), frameon=False)


def _within(middle: float, half: float, length: int) -> slice:
    """Return a stretch around the middle, moved or cut so that it lies within the length."""
    size = min(length, 2 * int(half))
    start = min(max(0, round(middle) - int(half)), length - size)
    return slice(start, start + size)
