"""Building blocks of the phantoms: random functions of space, shapes with soft edges, and fractions of tissues."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]  # single precision throughout, for speed


class Texture:
    """A smooth random function of space with zero mean and unit variance, evaluated at any resolution.

    It is a sum of standing waves. Each is a product of a function of (y, z) and one of x, so that a whole slice costs
    one matrix product.

    Parameters
    ----------
    rng : Generator
        Source of the draws.
    shortest, longest : float
        Bounds of the wavelengths in mm.
    waves : int
        Number of waves.
    """

    def __init__(self, rng: np.random.Generator, shortest: float, longest: float, waves: int = 24) -> None:
        wave_number = 2 * np.pi / rng.uniform(shortest, longest, waves)
        angle = rng.uniform(0, np.pi, waves)
        self._x, self._y = wave_number * np.cos(angle), wave_number * np.sin(angle)
        self._z = wave_number * rng.uniform(-0.7, 0.7, waves)
        self._phase_x, self._phase_y = rng.uniform(0, 2 * np.pi, (2, waves))

    def __call__(self, x: Floats, y: Floats, z: float) -> Floats:
        """Evaluate the function in a plane.

        Parameters
        ----------
        x : ndarray of shape (nx,)
            Column centres in mm.
        y : ndarray of shape (ny,)
            Row centres in mm.
        z : float
            Height of the plane in mm.

        Returns
        -------
        ndarray of shape (ny, nx)
            The values.
        """
        along_x = np.cos(np.outer(self._x, x) + self._phase_x[:, None]).astype(np.float32)
        along_y = np.cos(np.outer(y, self._y) + self._phase_y + self._z * z).astype(np.float32)
        return (2 / math.sqrt(len(self._x))) * (along_y @ along_x)


def coverage(distance: Floats, softness: float) -> Floats:
    """Estimate the fraction of each pixel that lies inside a shape.

    Parameters
    ----------
    distance : ndarray
        Signed distance in mm from the pixel's centre to the shape's border, positive inside.
    softness : float
        Width in mm over which the fraction falls from 1 to 0.

    Returns
    -------
    ndarray
        Fractions from 0 to 1, of the distance's shape.
    """
    return np.clip(distance * np.float32(1 / softness) + np.float32(0.5), 0, 1)


def ellipse(x: Floats, y: Floats, semi_x: float, semi_y: float) -> Floats:
    """Return the signed distance to an ellipse about the origin, to first order.

    Parameters
    ----------
    x, y : ndarray
        Coordinates in mm, of shapes that broadcast.
    semi_x, semi_y : float
        Semi-axes in mm.

    Returns
    -------
    ndarray
        Distances in mm, positive inside.
    """
    a, b = x / np.float32(semi_x), y / np.float32(semi_y)
    level = np.sqrt(a * a + b * b) + np.float32(1e-6)
    gradient = np.sqrt((a / semi_x) ** 2 + (b / semi_y) ** 2) / level + np.float32(1e-6)
    return (1 - level) / gradient


def smooth_maximum(first: Floats, second: Floats, width: float) -> Floats:
    """Unite two shapes and round the corner where they meet.

    Parameters
    ----------
    first, second : ndarray
        Signed distances in mm to the shapes, positive inside.
    width : float
        Width in mm of the rounded corner.

    Returns
    -------
    ndarray
        Signed distance in mm to the union.
    """
    blend = np.clip(1 - np.abs(first - second) / width, 0, 1)
    return np.maximum(first, second) + (0.25 * width) * blend * blend


class Layers:
    """Tissue fractions of pixels, filled from the front: a tissue painted first hides those painted after it.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.

    Attributes
    ----------
    remaining : ndarray of float32, shape (ny, nx)
        The fraction of each pixel that is still free.
    fractions : dict of str to ndarray, shape (ny, nx)
        The fraction of each tissue in each pixel.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.remaining = np.ones(shape, np.float32)
        self.fractions: dict[str, Floats] = {}

    def paint(self, tissue: str, coverage: Floats) -> Floats:
        """Fill a share of what is still free with a tissue.

        Parameters
        ----------
        tissue : str
            Name of the tissue.
        coverage : ndarray of shape (ny, nx)
            The share, 0 to 1.

        Returns
        -------
        ndarray of shape (ny, nx)
            The fraction of each pixel that was filled.
        """
        part = self.remaining * coverage
        self.remaining -= part
        self.add(tissue, part)
        return part

    def add(self, tissue: str, part: Floats) -> None:
        """Add a part to a tissue's fraction; what is still free stays as it is.

        Parameters
        ----------
        tissue : str
            The tissue.
        part : ndarray of shape (ny, nx)
            The fraction of each pixel to add.
        """
        if tissue in self.fractions:
            self.fractions[tissue] += part
        else:
            self.fractions[tissue] = part.copy()
