"""Rearrangements of a slice's pixels: the eight ways to store it."""

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

    def __str__(self) -> str:
        if self.swap:
            return {
                (False, False): "mirrored about a diagonal",
                (True, True): "mirrored about a diagonal",
                (True, False): "turned by 90 degrees",
                (False, True): "turned by 90 degrees",
            }[self.reverse_rows, self.reverse_columns]
        return {
            (False, False): "as stored",
            (True, True): "turned by 180 degrees",
            (True, False): "mirrored top to bottom",
            (False, True): "mirrored left to right",
        }[self.reverse_rows, self.reverse_columns]

    def apply(self, volume: Volume) -> Volume:
        """Return the same image stored another way round; every voxel keeps its place in the scanner.

        Parameters
        ----------
        volume : Volume of shape (..., y, x)
            The image.

        Returns
        -------
        Volume
            The turned image.
        """
        array = self.rearrange(volume.array)
        rows, columns = array.shape[-2:]
        before = np.eye(4)
        if self.reverse_columns:
            before[0, 0], before[0, 3] = -1, columns - 1
        if self.reverse_rows:
            before[1, 1], before[1, 3] = -1, rows - 1
        if self.swap:
            before = before[[1, 0, 2, 3]]
        return Volume(array, volume.affine @ before, volume.notes)

    def rearrange(self, array: np.ndarray) -> np.ndarray:
        """Return what lies on an image's grid as it lies on that of the turned image.

        Parameters
        ----------
        array : ndarray of shape (..., y, x)
            Values on the image's grid, such as labels.

        Returns
        -------
        ndarray
            The same values, contiguous.
        """
        array = array.swapaxes(-1, -2) if self.swap else array
        array = array[..., :: -1 if self.reverse_rows else 1, :: -1 if self.reverse_columns else 1]
        return np.ascontiguousarray(array)


AS_STORED = Turn()
# The turn that changes nothing comes first, so that it is preferred.
TURNS = tuple(Turn(*choices) for choices in product((False, True), repeat=3))


def directions(affine: np.ndarray) -> np.ndarray:
    """Return unit vectors (2, 3) in scanner coordinates along which an image's x and y indices grow.

    Parameters
    ----------
    affine : ndarray of shape (4, 4)
        From the index (x, y, z) to scanner coordinates in mm.

    Returns
    -------
    ndarray of shape (2, 3)
        The unit vectors of x and of y.
    """
    columns = affine[:3, :2]
    return (columns / np.linalg.norm(columns, axis=0)).T


def nearest(affine: np.ndarray, wanted: np.ndarray) -> Turn:
    """Find the turn that brings an image's directions nearest to other directions.

    Parameters
    ----------
    affine : ndarray of shape (4, 4)
        The image's affine.
    wanted : ndarray of shape (2, 3)
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
