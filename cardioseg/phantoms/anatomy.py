"""Anatomy of a phantom patient: heart and chest as drawn at random, and what heartbeat and disease make of them.

Coordinates are mm in the frame of the left ventricle: x along the columns of an image (from the chest wall to the
spine), y along its rows (from the liver upwards), z along the long axis, 0 at the epicardial apex and growing towards
the base.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cardioseg.phantoms.shapes import Texture

SHORTENING = 0.13  # of the long axis, from end-diastole to end-systole
NARROWING = 0.3  # of the left ventricle's cavity
RV_NARROWING = 0.1  # of the right ventricle, from the septum to the free wall


@dataclass(frozen=True)
class Scar:
    """A territory of the wall that is enhanced from the endocardium outwards.

    Attributes
    ----------
    angle, half_width : float
        Its middle and half of its extent around the long axis, in radians.
    height, half_height : float
        Its middle and half of its extent along the long axis, as fractions of the ventricle's length.
    transmurality : float
        The fraction of the wall's thickness that is enhanced in its middle.
    core : float
        The extent of its dark core, where no contrast agent arrives (microvascular obstruction), as a fraction of its
        own. 0 without a core.
    """

    angle: float
    half_width: float
    height: float
    half_height: float
    transmurality: float
    core: float = 0.0


@dataclass(frozen=True)
class Anatomy:
    """The heart and chest of one patient.

    Lengths are in mm, angles in radians about the long axis, and heights are fractions of `length`.

    Attributes
    ----------
    endo_radius, wall, length, apical_wall : float
        Left ventricle: greatest radius of the cavity, thickness of the wall, length from the epicardial apex to the
        base, and thickness of the wall at the apex.
    ellipticity : tuple of float
        Deviation of its cross-section from a circle, with the cosine and the sine of twice the angle.
    drift : tuple of float
        Displacement of the long axis from apex to base, (x, y).
    base_tilt : tuple of float
        Slope of the base along x and y.
    opening_angle, opening_half_width, opening_depth : float
        Where the left ventricle's wall is open at the base: direction, half of the angle, and depth below the base.
    rv_angle : float
        Direction from the left to the right ventricle.
    rv_protrusion, rv_half_width, rv_lift, rv_apex : float
        Right ventricle: extent beyond the left ventricle, half of its width along the septum, displacement along the
        septum, and distance of its apex from the left ventricle's along the long axis.
    papillary_angles, papillary_radius : tuple of float, float
        Directions and radius of the papillary muscles.
    trabeculation : float
        How trabeculated both ventricles are.
    epicardial_fat : float
        Thickness of the fat around the heart.
    scar : Scar or None
        The scar, if there is one.
    chest_angle, chest_distance, chest_semiaxes : float, float, tuple of float
        Direction of the chest wall, its distance from the apex, and the semi-axes of the chest.
    subcutaneous_fat : float
        Thickness of the fat under the skin.
    diaphragm, diaphragm_slope, diaphragm_bend : float
        Distance of the diaphragm below the heart, its slope along x, and its curvature in 1 / mm.
    rib_phase : float
        Where ribs and spinal discs lie.
    texture_wide, texture_wide_2, texture_middle, texture_fine : Texture
        Random functions that deform and mottle everything.
    """

    endo_radius: float
    wall: float
    length: float
    apical_wall: float
    ellipticity: tuple[float, float]
    drift: tuple[float, float]
    base_tilt: tuple[float, float]
    opening_angle: float
    opening_half_width: float
    opening_depth: float
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
    """Draw a patient.

    About one in ten has no scar. The others have one in the territory of one coronary artery.

    Parameters
    ----------
    rng : Generator
        Source of the draws.

    Returns
    -------
    Anatomy
        The patient.
    """
    size = rng.normal(1, 0.05)
    endo_radius = float(np.clip(size * rng.normal(28, 2.2), 21, 34))
    wall = float(np.clip(rng.normal(9.5, 1.2), 7.5, 13.5))
    rv_angle = math.pi + rng.normal(0, 0.2)
    return Anatomy(
        endo_radius=endo_radius,
        wall=wall,
        length=float(np.clip(size * rng.normal(84, 5), 70, 100)),
        apical_wall=rng.uniform(6, 9),
        ellipticity=_pair(rng.normal(0, 0.025, 2).clip(-0.05, 0.05)),
        drift=_pair(rng.normal(0, 5, 2)),
        base_tilt=_pair(rng.normal((0.08, 0), 0.05, 2)),
        opening_angle=rv_angle + rng.normal(0, 0.25),
        opening_half_width=rng.uniform(0.8, 1.3),
        opening_depth=rng.uniform(1, 9),
        rv_angle=rv_angle,
        rv_protrusion=size * float(np.clip(rng.normal(42.5, 4), 32, 51)),
        rv_half_width=size * float(np.clip(rng.normal(43, 3), 36, 50)),
        rv_lift=rng.normal(0, 5),
        rv_apex=rng.uniform(12, 26),
        papillary_angles=(rv_angle + rng.normal(1.9, 0.2), rv_angle - rng.normal(1.9, 0.2)),
        papillary_radius=rng.uniform(3.5, 5.5),
        trabeculation=rng.uniform(0.5, 1.4),
        epicardial_fat=rng.uniform(1.0, 4.2),
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
    angle, height = ((-0.9, 0.4), (1.1, 0.65), (2.6, 0.6))[rng.choice(3, p=(0.45, 0.3, 0.25))]
    return Scar(
        angle=rv_angle + angle + rng.normal(0, 0.3),
        half_width=rng.uniform(0.5, 1.6),
        height=height + rng.normal(0, 0.1),
        half_height=rng.uniform(0.2, 0.7),
        transmurality=rng.uniform(0.3, 1.2),
        core=rng.uniform(0.4, 0.75) if rng.random() < 0.3 else 0.0,
    )


def profile(height: float) -> float:
    """Return the radius of the left ventricle at a height, relative to its greatest radius, which lies at 0.7.

    Parameters
    ----------
    height : float
        0 at the apex, 1 at the base.

    Returns
    -------
    float
        0 to 1.
    """
    if height <= 0.7:
        return math.sqrt(max(0.0, 1 - ((height - 0.7) / 0.7) ** 2))
    return 1 - 0.1 * ((height - 0.7) / 0.3) ** 2


def contracted(anatomy: Anatomy, share: float, rv_filling: float = 1.0) -> Anatomy:
    """Return the anatomy at another moment of the heartbeat, and under another filling of the right ventricle.

    Parameters
    ----------
    anatomy : Anatomy
        At end-diastole, as drawn.
    share : float
        0 at end-diastole to 1 at end-systole.
    rv_filling : float
        The right ventricle's extent beyond the septum, over that of the anatomy: it follows the breathing.

    Returns
    -------
    Anatomy
        The apex stays, the base descends towards it and the cavities narrow. The left ventricle's wall keeps its
        volume, so that it thickens.
    """
    shorter = 1 - SHORTENING * share
    endo_radius = anatomy.endo_radius * (1 - NARROWING * share)
    annulus = (anatomy.endo_radius + anatomy.wall) ** 2 - anatomy.endo_radius**2
    return replace(
        anatomy,
        length=anatomy.length * shorter,
        endo_radius=endo_radius,
        wall=math.sqrt(endo_radius**2 + annulus / shorter) - endo_radius,
        apical_wall=anatomy.apical_wall * (1 + 0.4 * share),
        papillary_radius=anatomy.papillary_radius * (1 + 0.2 * share),
        rv_protrusion=anatomy.rv_protrusion * (1 - RV_NARROWING * share) * rv_filling,
        rv_half_width=anatomy.rv_half_width * (1 - 0.5 * RV_NARROWING * share),
        rv_apex=anatomy.rv_apex * shorter,
    )


def oedematous(anatomy: Anatomy) -> Anatomy:
    """Return the anatomy as T2 shows it: oedema, wider and deeper than the scar, in the place of the scar.

    Parameters
    ----------
    anatomy : Anatomy
        The patient.

    Returns
    -------
    Anatomy
        The patient with the oedema as `scar`.
    """
    scar = anatomy.scar and replace(
        anatomy.scar,
        half_width=1.3 * anatomy.scar.half_width,
        half_height=1.3 * anatomy.scar.half_height,
        transmurality=min(1.2, 1.5 * anatomy.scar.transmurality),
    )
    return replace(anatomy, scar=scar)
