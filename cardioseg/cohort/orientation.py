"""Which way round slices are stored: an image turned in-plane as another cohort is, and its mask turned back.

The oblique short axis lies so near 45 degrees to the body's axes that codes such as LSP change from patient to patient
though the pictures look alike. What is compared are therefore the directions themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from cardioseg.core.volumes import Volume


@dataclass(frozen=True)
class Turn:
    """A rearrangement of a slice's pixels: rows and columns swapped, then the rows' and the columns' order reversed."""

    swap: bool = False
    reverse_rows: bool = False
    reverse_columns: bool = False

    def apply(self, volume: Volume) -> Volume:
        """The same image, stored another way round: every voxel keeps its place in the scanner."""
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
        """An array (..., y, x) on the grid that `apply` gave, as it was stored before."""
        array = array[..., :: -1 if self.reverse_rows else 1, :: -1 if self.reverse_columns else 1]
        return np.ascontiguousarray(array.swapaxes(-1, -2) if self.swap else array)


# The first of equally good ones is taken: that which leaves everything as it is.
TURNS = tuple(Turn(*choices) for choices in product((False, True), repeat=3))


def directions(affine: np.ndarray) -> np.ndarray:
    """Unit vectors (2, 3), in the scanner's frame, along which an image's x and y indices grow."""
    columns = affine[:3, :2]
    return (columns / np.linalg.norm(columns, axis=0)).T


def common(affines: Sequence[np.ndarray]) -> np.ndarray | None:
    """Mean directions (2, 3) of a cohort's images; None where these are not all stored the same way round."""
    found = [directions(affine) for affine in affines]
    return np.mean(found, axis=0) if all(nearest(affine, found[0]) == Turn() for affine in affines) else None


def nearest(affine: np.ndarray, wanted: np.ndarray) -> Turn:
    """The turn that brings an image's directions nearest to the wanted ones (2, 3), by the sum of the cosines."""

    def likeness(turn: Turn) -> float:
        turned = turn.apply(Volume(np.empty((1, 1, 1)), affine))
        return round(float((directions(turned.affine) * wanted).sum()), 6)

    return max(TURNS, key=likeness)
