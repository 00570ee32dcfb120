"""Building blocks of the phantoms: random functions of space, shapes with soft edges, and fractions of tissues."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]  # single precision throughout, for speed


class Texture:
    """A smooth random function of space with zero mean and unit variance, evaluated at any resolution.

    A sum of standing waves, each a product of a function of (y, z) and one of x, so that a whole slice costs one matrix
    product. Wavelengths are drawn between the two bounds, in mm.
    """

    def __init__(self, rng: np.random.Generator, shortest: float, longest: float, waves: int = 24) -> None:
        wave_number = 2 * np.pi / rng.uniform(shortest, longest, waves)
        angle = rng.uniform(0, np.pi, waves)
        self._x, self._y = wave_number * np.cos(angle), wave_number * np.sin(angle)
        self._z = wave_number * rng.uniform(-0.7, 0.7, waves)
        self._phase_x, self._phase_y = rng.uniform(0, 2 * np.pi, (2, waves))

    def __call__(self, x: Floats, y: Floats, z: float) -> Floats:
        """Values at columns x (shape (nx,)) and rows y (shape (ny,)) of the plane z, shape (ny, nx)."""
        along_x = np.cos(np.outer(self._x, x) + self._phase_x[:, None]).astype(np.float32)
        along_y = np.cos(np.outer(y, self._y) + self._phase_y + self._z * z).astype(np.float32)
        return (2 / math.sqrt(len(self._x))) * (along_y @ along_x)


def coverage(distance: Floats, softness: float) -> Floats:
    """Fraction of a pixel inside a shape whose signed distance (positive inside) is that at the pixel's centre."""
    return np.clip(distance * np.float32(1 / softness) + np.float32(0.5), 0, 1)


def ellipse(x: Floats, y: Floats, semi_x: float, semi_y: float) -> Floats:
    """Signed distance to an ellipse about the origin, positive inside, to first order."""
    a, b = x / np.float32(semi_x), y / np.float32(semi_y)
    level = np.sqrt(a * a + b * b) + np.float32(1e-6)
    gradient = np.sqrt((a / semi_x) ** 2 + (b / semi_y) ** 2) / level + np.float32(1e-6)
    return (1 - level) / gradient


def smooth_maximum(first: Floats, second: Floats, width: float) -> Floats:
    """Union of two shapes whose meeting corner is rounded over `width` mm."""
    blend = np.clip(1 - np.abs(first - second) / width, 0, 1)
    return np.maximum(first, second) + (0.25 * width) * blend * blend


class Layers:
    """Tissue fractions filled from the front: what is painted first hides what comes after."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.remaining = np.ones(shape, np.float32)
        self.fractions: dict[str, Floats] = {}

    def paint(self, tissue: str, coverage: Floats) -> Floats:
        """Fill up to `coverage` of what is still free; returns the part filled."""
        part = self.remaining * coverage
        self.remaining -= part
        self.add(tissue, part)
        return part

    def add(self, tissue: str, part: Floats) -> None:
        if tissue in self.fractions:
            self.fractions[tissue] += part
        else:
            self.fractions[tissue] = part.copy()
