"""Anatomy of a phantom patient: heart and chest as drawn at random.

Coordinates are mm in the frame of the left ventricle: x along the columns of an image (from the chest wall to the
spine), y along its rows (from the liver upwards), z along the long axis, 0 at the epicardial apex and growing towards
the base.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cardioseg.phantoms.shapes import Texture


@dataclass(frozen=True)
class Scar:
    """A territory about (`angle`, `height`), enhanced from the endocardium through `transmurality` of the wall."""

    angle: float
    half_width: float
    height: float
    half_height: float
    transmurality: float


@dataclass(frozen=True)
class Anatomy:
    """One patient: lengths in mm, angles in radians, heights as a fraction of `length`."""

    endo_radius: float
    wall: float
    length: float
    apical_wall: float
    ellipticity: tuple[float, float]
    drift: tuple[float, float]
    base_tilt: tuple[float, float]
    rv_angle: float
    rv_protrusion: float
    rv_half_width: float
    rv_lift: float
    rv_apex: float
    papillary_angles: tuple[float, float]
    papillary_radius: float
    trabeculation: float
    epicardial_fat: float
    scar: Scar | None
    chest_angle: float
    chest_distance: float
    chest_semiaxes: tuple[float, float]
    subcutaneous_fat: float
    diaphragm: float
    diaphragm_slope: float
    diaphragm_bend: float
    rib_phase: float
    texture_wide: Texture
    texture_wide_2: Texture
    texture_middle: Texture
    texture_fine: Texture


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw a patient: about one in ten without scar, scar in the territory of one coronary artery in the others."""
    size = rng.normal(1, 0.05)
    endo_radius = float(np.clip(size * rng.normal(26.5, 2.2), 20, 33))
    wall = float(np.clip(rng.normal(9.6, 1.1), 7.5, 13))
    rv_angle = math.pi + rng.normal(0, 0.2)
    return Anatomy(
        endo_radius=endo_radius,
        wall=wall,
        length=float(np.clip(size * rng.normal(84, 5), 70, 100)),
        apical_wall=rng.uniform(6, 9),
        ellipticity=_pair(rng.normal(0, 0.025, 2).clip(-0.05, 0.05)),
        drift=_pair(rng.normal(0, 5, 2)),
        base_tilt=_pair(rng.normal((0.10, 0), 0.08, 2)),
        rv_angle=rv_angle,
        rv_protrusion=size * float(np.clip(rng.normal(37, 4), 28, 46)),
        rv_half_width=size * float(np.clip(rng.normal(43, 3), 36, 50)),
        rv_lift=rng.normal(0, 5),
        rv_apex=rng.uniform(12, 26),
        papillary_angles=(rv_angle + rng.normal(1.9, 0.2), rv_angle - rng.normal(1.9, 0.2)),
        papillary_radius=rng.uniform(3.5, 5.5),
        trabeculation=rng.uniform(0.5, 1.4),
        epicardial_fat=rng.uniform(1.5, 5),
        scar=_draw_scar(rng, rv_angle) if rng.random() < 0.9 else None,
        chest_angle=math.radians(rng.normal(152, 8)),
        chest_distance=rng.uniform(26, 38),
        chest_semiaxes=(rng.uniform(95, 115), rng.uniform(150, 190)),
        subcutaneous_fat=rng.uniform(6, 30),
        diaphragm=rng.uniform(-1, 9),
        diaphragm_slope=rng.normal(0, 0.2),
        diaphragm_bend=rng.uniform(-0.002, 0.003),
        rib_phase=rng.uniform(0, 2 * math.pi),
        texture_wide=Texture(rng, 60, 160),
        texture_wide_2=Texture(rng, 60, 160),
        texture_middle=Texture(rng, 14, 40, 40),
        texture_fine=Texture(rng, 5, 12, 48),
    )


def _pair(values: NDArray[np.float64]) -> tuple[float, float]:
    # Plain floats: arithmetic with them leaves arrays in single precision.
    return float(values[0]), float(values[1])


def _draw_scar(rng: np.random.Generator, rv_angle: float) -> Scar:
    # Left anterior descending, right and circumflex territories: angle from the middle of the septum, and height.
    angle, height = ((0.9, 0.4), (-1.1, 0.65), (2.6, 0.6))[rng.choice(3, p=(0.45, 0.3, 0.25))]
    return Scar(
        angle=rv_angle + angle + rng.normal(0, 0.3),
        half_width=rng.uniform(0.5, 1.6),
        height=height + rng.normal(0, 0.1),
        half_height=rng.uniform(0.2, 0.7),
        transmurality=rng.uniform(0.3, 1.2),
    )


def profile(height: float) -> float:
    """Radius of the ventricle at a height (0 apex, 1 base) over its greatest, which lies at 0.7."""
    if height <= 0.7:
        return math.sqrt(max(0.0, 1 - ((height - 0.7) / 0.7) ** 2))
    return 1 - 0.1 * ((height - 0.7) / 0.3) ** 2


def oedematous(anatomy: Anatomy) -> Anatomy:
    """The anatomy as T2 shows it, whose scar is the oedema: wider than it, and through more of the wall."""
    scar = anatomy.scar and replace(
        anatomy.scar,
        half_width=1.3 * anatomy.scar.half_width,
        half_height=1.3 * anatomy.scar.half_height,
        transmurality=min(1.2, 1.5 * anatomy.scar.transmurality),
    )
    return replace(anatomy, scar=scar)
