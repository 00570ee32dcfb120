"""Pictures of what the pipeline did."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

COLOURS = ("#e6352b", "#2ba84a", "#2f6fde", "#e6a817", "#8e44ad", "#16a2a2")
MARGIN = 12


def segmentations(
    path: Path | str, patients: Mapping[str, tuple[np.ndarray, Mapping[str, np.ndarray]]], structures: Sequence[str]
) -> None:
    """Contours of several label volumes on three slices of each patient, apical to basal (paper Fig. 4).

    patients: by name the image (z, y, x) and the labels (z, y, x) by title, the first of which chooses slices and
    window.
    """
    titles = list(next(iter(patients.values()))[1])
    rows = [(name, z) for name, (_, labels) in patients.items() for z in _slices(labels[titles[0]])]
    figure, axes = plt.subplots(
        len(rows),
        1 + len(titles),
        figsize=(1.9 * (1 + len(titles)), 1.95 * len(rows)),
        squeeze=False,
        layout="constrained",
    )
    for row, (name, z) in enumerate(rows):
        image, labels = patients[name]
        window = _window(labels[titles[0]])
        _show(axes[row, 0], image[z][window], image)
        axes[row, 0].set_ylabel(f"patient {name}, slice {z + 1}", fontsize=7)
        for column, title in enumerate(titles, start=1):
            _show(axes[row, column], image[z][window], image)
            _outline(axes[row, column], labels[title][z][window], len(structures))
            if row == 0:
                axes[0, column].set_title(title, fontsize=9)
    _legend(figure, structures)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def translations(
    path: Path | str,
    patients: Mapping[str, tuple[np.ndarray, Sequence[np.ndarray], np.ndarray]],
    source: str,
    target: str,
    structures: Sequence[str],
) -> None:
    """A mid slice of source images beside their synthetic target images and labels (paper Fig. 5).

    patients: by name the source image, the synthetic images and the labels, all (z, y, x) on one grid, in [-1, 1].
    """
    columns = 2 + max(len(synthetic) for _, synthetic, _ in patients.values())
    figure, axes = plt.subplots(
        len(patients), columns, figsize=(1.9 * columns, 1.95 * len(patients)), squeeze=False, layout="constrained"
    )
    for row, (name, (image, synthetic, labels)) in enumerate(patients.items()):
        z = _slices(labels)[1]
        for axis, volume in zip(axes[row], [image, *synthetic, image], strict=True):
            axis.imshow(volume[z], cmap="gray", vmin=-1, vmax=1)
            axis.set(xticks=[], yticks=[])
        _outline(axes[row, -1], labels[z], len(structures))
        axes[row, 0].set_ylabel(f"patient {name}, slice {z + 1}", fontsize=7)
    titles = [source, *(f"synthetic {target} {index}" for index in range(1, columns - 1)), "labels"]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    _legend(figure, structures)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _slices(labels: np.ndarray) -> tuple[int, int, int]:
    """An apical, a middle and a basal slice of those with labels."""
    inside = np.flatnonzero(labels.any(axis=(1, 2)))
    if not len(inside):
        inside = np.arange(len(labels))
    return int(inside[len(inside) // 8]), int(inside[len(inside) // 2]), int(inside[-1 - len(inside) // 8])


def _window(labels: np.ndarray) -> tuple[slice, slice]:
    """In-plane bounding square of the labels with a margin of a quarter."""
    rows, columns = np.flatnonzero(labels.any(axis=(0, 2))), np.flatnonzero(labels.any(axis=(0, 1)))
    if not len(rows):
        return slice(None), slice(None)
    half = int(0.75 * max(np.ptp(rows), np.ptp(columns))) + MARGIN
    middle = [(int(found[0]) + int(found[-1])) // 2 for found in (rows, columns)]
    return slice(max(0, middle[0] - half), middle[0] + half), slice(max(0, middle[1] - half), middle[1] + half)


def _show(axis: plt.Axes, shown: np.ndarray, volume: np.ndarray) -> None:
    low, high = np.percentile(volume, [1, 99.5])
    axis.imshow(shown, cmap="gray", vmin=low, vmax=high)
    axis.set(xticks=[], yticks=[])


def _outline(axis: plt.Axes, labels: np.ndarray, structures: int) -> None:
    # The first structure last: where two meet, as at the endocardium, the inner one's contour is seen.
    for index in range(structures, 0, -1):
        if (labels == index).any():
            axis.contour(labels == index, [0.5], colors=COLOURS[(index - 1) % len(COLOURS)], linewidths=1)


def _legend(figure: plt.Figure, structures: Sequence[str]) -> None:
    lines = [Line2D([], [], color=COLOURS[index % len(COLOURS)], label=name) for index, name in enumerate(structures)]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), fontsize=8, frameon=False)
