"""Several synthetic target images of one source image (paper Fig. 5)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from cardioseg.core.volumes import Volume
from cardioseg.figures import style

# Intensities of the crops, see `cropping.crop_and_normalise`.
GREY = (-1.0, 1.0)


@style.styled
def figure(
    patients: Mapping[str, tuple[Volume, Sequence[np.ndarray], np.ndarray]],
    source: str,
    target: str,
    structures: Sequence[str],
) -> Figure:
    """Draw a middle slice of source images, one per row, with their synthetic target images and their labels.

    Parameters
    ----------
    patients : mapping of str to (Volume, sequence of ndarray, ndarray), shape (z, y, x)
        By name, the source image, its synthetic images and its labels, on one grid, with intensities in [-1, 1].
    source, target : str
        Names of the modalities.
    structures : sequence of str
        Names of the structures.

    Returns
    -------
    Figure
        The figure.
    """
    samples = max(len(synthetic) for _, synthetic, _ in patients.values())
    titles = [source, *(f"synthetic {target} {index}" for index in range(1, samples + 1)), "labels"]
    drawn = Figure(figsize=(0.3 + 1.5 * len(titles), 0.55 + 1.42 * len(patients)), layout=style.tight_layout())
    axes = drawn.subplots(len(patients), len(titles), squeeze=False)
    for row, (name, (image, synthetic, labels)) in zip(axes, patients.items(), strict=True):
        z, turn = style.middle(labels), style.upright(image)
        where = slice(None), slice(None)
        for axis, array in zip(row, [image.array, *synthetic, image.array], strict=True):
            style.show(axis, turn.apply(Volume(array, image.affine)), z, where, GREY)
        style.outline(row[-1], turn.rearrange(labels[z]), len(structures))
        style.scale_bar(row[0], turn.apply(image), where)
        row[0].set_ylabel(f"patient {name}\nslice {z + 1}")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    style.legend(drawn, structures)
    return drawn
