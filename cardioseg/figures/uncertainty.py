"""Where the cascades' mean is uncertain, beside the images and contours."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from cardioseg.core.volumes import Volume
from cardioseg.figures import sheet, style


@style.styled
def figure(
    patients: Mapping[str, tuple[Volume, Mapping[str, np.ndarray], Mapping[str, np.ndarray]]],
    unit: str,
    structures: Sequence[str],
) -> Figure:
    """Draw slices from apex to base, one per row: contours of one or more label maps, then maps with a colour bar each.

    Parameters
    ----------
    patients : mapping of str to (Volume, mapping of str to ndarray, mapping of str to ndarray), shape (z, y, x)
        By name, the image, its labels by title and its maps by title, on one grid. All labels together determine slices
        and window.
    unit : str
        The unit of the maps.
    structures : sequence of str
        Names of the structures.

    Returns
    -------
    Figure
        The figure.
    """
    _, labels, maps = next(iter(patients.values()))
    everything = {name: np.max(list(own.values()), axis=0) for name, (_, own, _) in patients.items()}
    rows = [(name, z) for name in patients for z in style.levels(everything[name], 3)]
    count = len(labels) + len(maps)
    drawn = Figure(figsize=(0.4 + 1.7 * count, 0.8 + 1.66 * len(rows)), layout=style.tight_layout())
    axes = drawn.subplots(len(rows), count, squeeze=False)
    shown: dict[str, list] = {title: [] for title in maps}
    highest = {title: max(float(own[title].max()) for _, _, own in patients.values()) for title in maps}
    for row, (name, z) in zip(axes, rows, strict=True):
        stored, own_labels, own_maps = patients[name]
        turn = style.upright(stored)
        image = turn.apply(stored)
        where = style.window(turn.rearrange(everything[name]), image.spacing)
        for axis, title in zip(row, labels, strict=False):
            style.show(axis, image, z, where, style.limits(image.array))
            if title in own_labels:
                style.outline(axis, turn.rearrange(own_labels[title][z])[where], len(structures))
        for axis, title in zip(row[len(labels) :], maps, strict=True):
            shown[title].append(
                axis.imshow(
                    turn.rearrange(own_maps[title][z])[where],
                    cmap="inferno",
                    vmin=0,
                    vmax=highest[title] or 1,
                    interpolation="bilinear",
                    aspect=image.spacing[1] / image.spacing[2],
                )
            )
            style.bare(axis)
        style.scale_bar(row[0], image, where)
        row[0].set_ylabel(f"patient {name}\nslice {z + 1}")
    for axis, title in zip(axes[0], [*labels, *maps], strict=True):
        axis.set_title(style.wrapped(title, 22))
    for column, title in enumerate(maps, start=len(labels)):
        drawn.colorbar(
            shown[title][0], ax=axes[:, column], location="bottom", shrink=0.85, fraction=0.02, pad=0.01, label=unit
        )
    style.legend(drawn, structures, "lower left")
    return drawn


def slices(entropy: np.ndarray, labels: np.ndarray, image: Volume) -> np.ndarray:
    """Lay a map of the uncertainty about a mask into one picture, whose colours are those of the figure.

    Parameters
    ----------
    entropy : ndarray of shape (z, y, x)
        The map, from 0 to 1.
    labels : ndarray of int, shape (z, y, x)
        The mask.
    image : Volume of shape (z, y, x)
        The image.

    Returns
    -------
    ndarray of uint8, shape (y, x, 4)
        The slices, in the places that they have in `sheet.figure`.
    """
    turn = style.upright(image)
    where = style.window(turn.rearrange(labels), turn.apply(image).spacing)
    shown = turn.rearrange(entropy)[:, *where]
    return colormaps["inferno"](np.clip(sheet.mosaic(shown, 0), 0, 1), bytes=True)
