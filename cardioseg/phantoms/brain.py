"""A digital phantom of another organ: axial T1- and T2-weighted heads with labels of ventricles and deep grey nuclei.

A subject consists of ellipsoids, one inside another. Two spin-echo sequences image it, each with its own grid, pose,
shading and noise. The phantom shows that the pipeline works on other organs than the heart. Coordinates are in mm from
the head's middle: x to the right, y to the front, z upwards. Arrays are (z, y, x).
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cardioseg.core import volumes
from cardioseg.core.volumes import Volume
from cardioseg.phantoms.scanner import acquire_slice
from cardioseg.phantoms.shapes import Floats, Texture

# Proton density, T1 and T2 in ms at 1.5 T: BrainWeb's (Kwan et al., IEEE Trans Med Imaging 1999; 18:1085), nuclei
# between grey and white matter.
TISSUES = {
    "scalp": (1.00, 350, 70),
    "skull": (0.10, 500, 30),
    "fluid": (1.00, 2569, 329),
    "grey matter": (0.86, 833, 83),
    "white matter": (0.77, 500, 70),
    "nuclei": (0.84, 760, 79),
    "ventricles": (1.00, 2569, 329),
}
CODES = {"ventricles": 1, "nuclei": 2}


class Sequence(NamedTuple):
    """A spin-echo sequence.

    Attributes
    ----------
    repetition_time, echo_time : float
        Times in ms.
    matrix : int
        Pixels along each side of the square image.
    pixel : float
        In-plane spacing in mm.
    slices : int
        Number of slices.
    thickness : float
        Distance between slices in mm.
    noise : float
        Standard deviation of the noise, over the signal of white matter.
    """

    repetition_time: float
    echo_time: float
    matrix: int
    pixel: float
    slices: int
    thickness: float
    noise: float


SEQUENCES = {
    "t1": Sequence(500, 15, 176, 1.2, 18, 4.5, 0.05),
    "t2": Sequence(4000, 90, 208, 1.0, 14, 6.0, 0.08),
}


class Part(NamedTuple):
    """An ellipsoid of one tissue.

    Attributes
    ----------
    tissue : str
        Name of the tissue.
    centre, semiaxes : tuple of float
        Centre and semi-axes (x, y, z) in mm.
    turn : float
        Turn about z in radians.
    """

    tissue: str
    centre: tuple[float, float, float]
    semiaxes: tuple[float, float, float]
    turn: float


class Head(NamedTuple):
    """A subject.

    Attributes
    ----------
    semiaxes : tuple of float
        Semi-axes (x, y, z) of the head in mm.
    layers : dict of str to float
        By tissue, outermost first, the depth in mm below the skin at which the layer begins.
    folds : Texture
        The folding of grey and white matter.
    parts : list of Part
        What lies inside the white matter. A later part hides an earlier one.
    """

    semiaxes: tuple[float, float, float]
    layers: dict[str, float]
    folds: Texture
    parts: list[Part]


def spin_echo_signal(proton_density: float, t1: float, t2: float, *, repetition_time: float, echo_time: float) -> float:
    """Return the signal of a spin echo, M0 (1 - exp(-TR / T1)) exp(-TE / T2).

    Parameters
    ----------
    proton_density : float
        M0.
    t1, t2 : float
        Relaxation times in ms.
    repetition_time, echo_time : float
        TR and TE in ms.

    Returns
    -------
    float
        The signal, in units of M0.
    """
    return proton_density * (1 - math.exp(-repetition_time / t1)) * math.exp(-echo_time / t2)


def draw_head(rng: np.random.Generator) -> Head:
    """Draw a subject. Its left and right sides differ a little, and its ventricles are narrow or wide.

    Parameters
    ----------
    rng : Generator
        Source of the draws.

    Returns
    -------
    Head
        The subject.
    """
    size, wide = rng.normal(1, 0.04), rng.uniform(0.7, 1.5)

    def about(*values: float) -> tuple[float, float, float]:
        x, y, z = (float(value * size * rng.normal(1, 0.06)) for value in values)
        return x, y, z

    sides = (-1, 1)
    parts = [
        *(Part("nuclei", about(side * 13, -12, 6), about(9, 15, 10), -0.3 * side) for side in sides),
        *(Part("nuclei", about(side * 26, 6, 4), about(6, 17, 11), 0.15 * side) for side in sides),
        *(
            Part("ventricles", about(side * (5 + 4 * wide), 2, 18), about(4.5 * wide, 33, 9), 0.12 * side)
            for side in sides
        ),
        Part("ventricles", about(0, -6, 4), about(2 * wide, 13, 10), 0.0),
    ]
    layers, depth = {"scalp": 0.0}, 0.0
    for layer, thickness in (("skull", 6), ("fluid", 6), ("grey matter", 3), ("white matter", 5)):
        depth += thickness * rng.uniform(0.8, 1.3)
        layers[layer] = depth
    return Head(about(74, 94, 88), layers, Texture(rng, 9, 25, 40), parts)


def fractions(head: Head, x: Floats, y: Floats, z: float, pixel: float) -> dict[str, Floats]:
    """Cut one slice out of a head.

    Parameters
    ----------
    head : Head
        The subject.
    x : ndarray of shape (nx,)
        Column centres in mm.
    y : ndarray of shape (ny,)
        Row centres in mm.
    z : float
        Height of the slice in mm.
    pixel : float
        Pixel size in mm, the width over which edges are averaged.

    Returns
    -------
    dict of str to ndarray, shape (ny, nx)
        The fraction of each tissue of `TISSUES` in each pixel. The rest is air.
    """
    depth = _depth(x[None, :], y[:, None], z, head.semiaxes)
    folded = depth + 2.5 * head.folds(x, y, z)
    distances = [
        (tissue, (folded if "matter" in tissue else depth) - beginning) for tissue, beginning in head.layers.items()
    ]
    for part in head.parts:
        cos, sin = math.cos(part.turn), math.sin(part.turn)
        right, front = x[None, :] - part.centre[0], y[:, None] - part.centre[1]
        turned = cos * right + sin * front, cos * front - sin * right
        distances.append((part.tissue, _depth(*turned, z - part.centre[2], part.semiaxes)))
    found = {tissue: np.zeros_like(depth) for tissue in TISSUES}
    remaining = np.ones_like(depth)
    for tissue, distance in reversed(distances):
        share = remaining * np.clip(distance / pixel + 0.5, 0, 1)
        found[tissue] += share
        remaining = remaining - share
    return found


def _depth(x: Floats, y: Floats, z: float, semiaxes: tuple[float, float, float]) -> Floats:
    """Distance in mm to an ellipsoid's surface, positive inside, to first order."""
    a, b, c = semiaxes
    level = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2) + 1e-6
    gradient = np.sqrt((x / a**2) ** 2 + (y / b**2) ** 2 + (z / c**2) ** 2) / level
    return (1 - level) / (gradient + 1e-6)


def draw(subject: int, seed: int) -> dict[str, tuple[Volume, Volume]]:
    """Draw a subject and image it with every sequence. The same arguments give the same result.

    Parameters
    ----------
    subject : int
        Number of the subject.
    seed : int
        Seed of the cohort.

    Returns
    -------
    dict of str to (Volume, Volume)
        By sequence, image and labels (z, y, x), int16. The labels are in the codes of `CODES`.
    """
    head = draw_head(np.random.default_rng((seed, subject, 0)))
    return {
        name: _acquire(np.random.default_rng((seed, subject, number)), head, sequence)
        for number, (name, sequence) in enumerate(SEQUENCES.items(), start=1)
    }


def _acquire(rng: np.random.Generator, head: Head, sequence: Sequence) -> tuple[Volume, Volume]:
    s = sequence
    times = {"repetition_time": s.repetition_time, "echo_time": s.echo_time}
    signals = {
        tissue: spin_echo_signal(density, t1 * rng.normal(1, 0.04), t2 * rng.normal(1, 0.04), **times)
        for tissue, (density, t1, t2) in TISSUES.items()
    }
    shading, gain = Texture(rng, 150, 400), rng.uniform(200, 600)
    moved = rng.normal(0, 1, 3)
    offsets = (np.arange(s.matrix) - (s.matrix - 1) / 2) * s.pixel
    x, y = offsets + rng.normal(0, 4), offsets + rng.normal(0, 4)
    heights = (np.arange(s.slices) - (s.slices - 1) / 2) * s.thickness + 10 + rng.normal(0, 3)
    image = np.zeros((s.slices, s.matrix, s.matrix), np.int16)
    labels = np.zeros_like(image)
    for index, z in enumerate(heights):
        found = fractions(head, x - moved[0], y - moved[1], float(z - moved[2]), s.pixel)
        magnetisation = sum(signals[tissue] * part for tissue, part in found.items()) / signals["white matter"]
        seen = acquire_slice(rng, magnetisation * (1 + 0.12 * shading(x, y, z)), s.pixel, 1.3 * s.pixel, s.noise)
        image[index] = np.rint(np.clip(gain * seen, 0, 32767))
        for structure, code in CODES.items():
            labels[index][found[structure] > 0.5] = code
    affine = np.diag((s.pixel, s.pixel, s.thickness, 1.0))
    affine[:3, 3] = x[0], y[0], heights[0]
    return Volume(image, affine), Volume(labels, affine)


def write(folder: Path, subject: int, seed: int) -> None:
    """Draw a subject and write it as {subject}/t1.nii.gz and t1_labels.nii.gz, and likewise t2.

    Parameters
    ----------
    folder : Path
        The folder of the cohort.
    subject, seed : int
        As in `draw`.
    """
    for name, (image, labels) in draw(subject, seed).items():
        volumes.write(folder / str(subject) / f"{name}.nii.gz", image.array, image.affine)
        volumes.write(folder / str(subject) / f"{name}_labels.nii.gz", labels.array, labels.affine)
