"""Agreement in the basal, mid and apical third of a stack, which differ most."""

from collections.abc import Sequence

import numpy as np

from cardioseg.evaluation.measures import MEASURES
from cardioseg.evaluation.metrics import Comparison, agreement

THIRDS = ("base", "mid", "apex")


def of_slices(truth: np.ndarray) -> np.ndarray:
    """Assign each slice of a stack to a third of the manual mask.

    The mask, of all structures together, reaches from the outer face of its first slice to that of its last one. This
    length in mm is cut into three equal parts, and a slice belongs to the part that its centre lies in. Slices beyond
    the mask belong to the nearest part, so that what a segmentation adds there counts. The apex is the end at which the
    mask is smaller.

    Parameters
    ----------
    truth : ndarray of int, shape (z, y, x)
        The manual labels, 0 is background; slices are evenly spaced.

    Returns
    -------
    ndarray of int, shape (z,)
        For each slice the index of its third in `THIRDS`. If a single slice has labels, its third is mid; if none has,
        all slices are mid.
    """
    areas = np.count_nonzero(truth, axis=(1, 2))
    labelled = np.flatnonzero(areas)
    if not len(labelled):
        return np.full(len(truth), THIRDS.index("mid"))
    first, count = labelled[0], labelled[-1] + 1 - labelled[0]
    # In whole numbers: 3 (z - first + 1/2) / count, rounded down.
    thirds = np.clip((6 * (np.arange(len(truth)) - first) + 3) // (2 * count), 0, 2)
    return thirds if areas[thirds == 0].sum() >= areas[thirds == 2].sum() else 2 - thirds


def evaluate(comparisons: Sequence[Comparison], thirds: np.ndarray) -> list[dict[str, str | float]]:
    """Measure each structure in each third.

    Distances are those between the surfaces of the whole masks (see `metrics.surfaces`), averaged over the border
    voxels that lie in the third. The cut between two thirds is no surface.

    Parameters
    ----------
    comparisons : sequence of Comparison
        The structures.
    thirds : ndarray of int, shape (z,)
        As from `of_slices`.

    Returns
    -------
    list of dict
        One row per structure and third: `structure`, `third` and every measure of `MEASURES`. NaN where a value is not
        available: the Dice if neither mask has voxels in the third, the distances if neither has, or if one mask is
        empty in the whole stack.
    """
    rows: list[dict[str, str | float]] = []
    for found in comparisons:
        for index, third in enumerate(THIRDS):
            values = agreement(found, thirds == index)
            measured = {name: values[name] for name in MEASURES}
            rows.append({"structure": found.structure, "third": third, **measured})
    return rows
