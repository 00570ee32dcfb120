"""Hearts of rings whose scar and segments are known: in any rotation and handedness, in either order of the slices."""

import itertools
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from cardioseg.core.volumes import Volume

LV, MYO, RV = 1, 2, 3
STRUCTURES = ["LV", "MYO", "RV"]
CLINICAL = {"cavity": "LV", "myocardium": "MYO"}
SCAR = {"method": "fwhm", "standard_deviations": 5, "smallest_ml": 0.2}
SEGMENTS = {"right_ventricle": "RV"}
SETTINGS = {"clinical": CLINICAL, "scar": SCAR, "segments": SEGMENTS}
SPACING = (8.0, 1.0, 1.25)
INNER, OUTER = 20.0, 30.0
# A heart's pose in the scanner (right, anterior, superior): from apex to base, to the septum, to the anterior wall.
TO_BASE = np.array([0.62, -0.66, 0.42]) / np.linalg.norm([0.62, -0.66, 0.42])
TO_SEPTUM = np.array([0.68, 0.72, 0.0]) - TO_BASE * (TO_BASE @ [0.68, 0.72, 0.0])
TO_SEPTUM /= np.linalg.norm(TO_SEPTUM)
TO_ANTERIOR = np.cross(TO_BASE, TO_SEPTUM)
# Every way to store rows, columns and slices: (axis it becomes, direction) of x, y and z.
STORED = [
    np.array([[first, x], [1 - first, y], [2, z]])
    for first, x, y, z in itertools.product((0, 1), (1, -1), (1, -1), (1, -1))
]
BLOOD, MUSCLE, ENHANCED, NOISE = 900.0, 100.0, 1000.0, 10.0


@dataclass(frozen=True)
class Heart:
    """An image and its mask on one grid, the true scar (z, y, x; bool), and the angle from the septum in degrees."""

    image: Volume
    mask: Volume
    scar: np.ndarray
    angle: np.ndarray


def heart(
    sector: tuple[float, float] = (60, 120),
    transmurality: float = 0.5,
    scarred: tuple[int, int] = (7, 10),
    rotation: float = 25.0,
    stored: np.ndarray = STORED[0],
    slices: int = 10,
) -> Heart:
    """Draw a heart of slices from the apex to the base: the first without a cavity, three apical, mid and basal ones.

    sector: of the scar, in degrees from the middle of the septum towards the anterior wall. transmurality: its share of
    the wall, from the inside. scarred: the first slice with scar and the one after the last. rotation: of the slices,
    in degrees. stored: one of `STORED`.
    """
    height, width = SPACING[1:]
    y, x = np.meshgrid((np.arange(110) - 52.3) * height, (np.arange(96) - 49.2) * width, indexing="ij")
    turn = np.radians(rotation)
    angle = np.degrees(np.angle(np.exp(1j * (np.arctan2(y, x) + turn))))
    radius = np.hypot(x, y)
    labels = np.zeros((slices, *y.shape), np.uint8)
    scar = np.zeros(labels.shape, bool)
    beside = np.hypot(radius * np.cos(np.radians(angle)) - OUTER - 8, radius * np.sin(np.radians(angle))) < 26
    for z in range(slices):
        inner, outer = (0, 12) if z == 0 else (0.7 * INNER, 0.8 * OUTER) if z < 4 else (INNER, OUTER)
        labels[z][beside & (z > 1) & (radius > outer)] = RV
        labels[z][radius <= outer] = MYO
        labels[z][radius <= inner] = LV
        if scarred[0] <= z < scarred[1]:
            within = (angle - sector[0]) % 360 < sector[1] - sector[0]
            scar[z] = within & (radius > inner) & (radius <= inner + transmurality * (outer - inner))
    image = np.select([labels == LV, labels == RV, labels == MYO], [BLOOD, BLOOD, MUSCLE], 50.0)
    image[scar] = ENHANCED
    image += np.random.default_rng(1).normal(0, NOISE, image.shape)
    affine = np.eye(4)
    columns = np.cos(turn) * TO_SEPTUM + np.sin(turn) * TO_ANTERIOR
    rows = np.cos(turn) * TO_ANTERIOR - np.sin(turn) * TO_SEPTUM
    affine[:3, :3] = np.stack([columns * width, rows * height, TO_BASE * SPACING[0]], axis=1)
    affine[:3, 3] = (-40, 20, -30)

    def turned(array: np.ndarray) -> Volume:
        kept = nib.Nifti1Image(array.T, affine, dtype=np.float64).as_reoriented(stored)
        return Volume(np.ascontiguousarray(np.asanyarray(kept.dataobj).T), kept.affine)

    mask = turned(labels)
    everywhere = np.broadcast_to(angle, labels.shape)
    return Heart(turned(image), mask, turned(scar.astype(np.uint8)).array > 0, turned(everywhere).array)
