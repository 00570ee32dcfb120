"""Which way round slices are stored: turns an image in-plane like another cohort, and turns its mask back.

The oblique short axis lies near 45 degrees to the body's axes. Codes such as LSP therefore change from patient to
patient though the pictures look alike. So the directions themselves are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from cardioseg.core.volumes import Volume


@dataclass(frozen=True)
class Turn:
    """A rearrangement of a slice's pixels: rows and columns are swapped, then each may be reversed."""

    swap: bool = False
    reverse_rows: bool = False
    reverse_columns: bool = False

    def apply(self, volume: Volume) -> Volume:
        """Return the same image stored another way round; every voxel keeps its place in the scanner."""
        array = volume.array.swapaxes(-1, -2) if self.swap else volume.array
        array = array[..., :: -1 if self.reverse_rows else 1, :: -1 if self.reverse_columns else 1]
        rows, columns = array.shape[-2:]
        before = np.eye(4)
        if self.reverse_columns:
            before[0, 0], before[0, 3] = -1, columns - 1
        if self.reverse_rows:
            before[1, 1], before[1, 3] = -1, rows - 1
        if self.swap:
            before = before[[1, 0, 2, 3]]
        return Volume(np.ascontiguousarray(array), volume.affine @ before, volume.notes)

    def undo(self, array: np.ndarray) -> np.ndarray:
        """Return an array (..., y, x) on the grid of a turned image as it was stored before."""
        array = array[..., :: -1 if self.reverse_rows else 1, :: -1 if self.reverse_columns else 1]
        return np.ascontiguousarray(array.swapaxes(-1, -2) if self.swap else array)


# The turn that changes nothing comes first, so that `nearest` prefers it.
TURNS = tuple(Turn(*choices) for choices in product((False, True), repeat=3))


def directions(affine: np.ndarray) -> np.ndarray:
    """Return unit vectors (2, 3) in scanner coordinates along which an image's x and y indices grow."""
    columns = affine[:3, :2]
    return (columns / np.linalg.norm(columns, axis=0)).T


def common(affines: Sequence[np.ndarray]) -> np.ndarray | None:
    """Compute the mean directions of a cohort's images.

    Parameters
    ----------
    affines : sequence of ndarray, shape (4, 4)
        The images' affines.

    Returns
    -------
    ndarray, shape (2, 3), or None
        See `directions`; None if the images are not all stored the same way round.
    """
    found = [directions(affine) for affine in affines]
    return np.mean(found, axis=0) if all(nearest(affine, found[0]) == Turn() for affine in affines) else None


def nearest(affine: np.ndarray, wanted: np.ndarray) -> Turn:
    """Find the turn that brings an image's directions nearest to other directions.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        The image's affine.
    wanted : ndarray, shape (2, 3)
        The directions to come near to, see `directions`.

    Returns
    -------
    Turn
        The turn with the largest sum of cosines; of equal ones the one that changes least.
    """

    def likeness(turn: Turn) -> float:
        turned = turn.apply(Volume(np.empty((1, 1, 1)), affine))
        return round(float((directions(turned.affine) * wanted).sum()), 6)

    return max(TURNS, key=likeness)
