"""A digital cardiac phantom: short-axis bSSFP, LGE and T2 volumes with labels, in the layout of MS-CMRSeg 2019.

A patient is drawn as a 3-D anatomy in closed form (`draw_anatomy`). One slice of it is the fraction of every tissue in
every pixel (`slice_fractions`), every tissue has a signal by the equation of the sequence (`bssfp_signal`,
`inversion_recovery_signal`, `t2_prepared_signal`), and a scanner sees the signal through coil shading, a finite k-space
and complex noise (`acquire_slice`). `draw_patient` does all this for each modality, `write_patient` puts it on disk.

Coordinates are mm in the frame of the left ventricle: x along the columns of an image (from the chest wall to the
spine), y along its rows (from the liver upwards), z along the long axis, 0 at the epicardial apex and growing towards
the base. Arrays are (z, y, x). The numbers were calibrated to the intensities and volumes of real MS-CMRSeg data, but
for the intensities of T2, which are those of its signal equation.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cardioseg.core import volumes
from cardioseg.core.errors import InputError

Modality = Literal["bSSFP", "LGE", "T2"]
# In the order of their random streams.
MODALITIES: tuple[Modality, ...] = get_args(Modality)
Floats = NDArray[np.floating]  # single precision throughout, for speed

LV_CODE, MYO_CODE, RV_CODE = 500, 200, 600
LAST_TRAINING_PATIENT = 35
LAST_VALIDATION_PATIENT = 5


class Tissue(NamedTuple):
    """Proton density (relative to blood), T1 and T2 in ms at 1.5 T before contrast, T1 some 15 minutes after it."""

    proton_density: float
    t1: float
    t2: float
    t1_post_contrast: float


TISSUES = {
    "blood": Tissue(1.00, 1500, 240, 325),
    "right blood": Tissue(1.00, 1500, 160, 333),
    "myocardium": Tissue(0.95, 960, 56, 470),
    "scar": Tissue(0.97, 1080, 64, 255),
    "fat": Tissue(0.72, 260, 75, 270),
    "muscle": Tissue(0.90, 900, 42, 410),
    "lung": Tissue(0.18, 1200, 60, 340),
    "liver": Tissue(0.80, 580, 46, 350),
    "stomach": Tissue(0.80, 900, 60, 450),
    "marrow": Tissue(0.55, 550, 60, 380),
    "bone": Tissue(0.25, 1000, 20, 500),
}


def bssfp_signal(
    proton_density: float, t1: float, t2: float, *, flip_angle: float, repetition_time: float, echo_time: float
) -> float:
    """Steady-state signal of balanced SSFP on resonance; times in ms, flip angle in degrees.

    M0 sin(a) (1 - E1) / (1 - (E1 - E2) cos(a) - E1 E2) exp(-TE / T2), with E = exp(-TR / T)
    (Scheffler and Lehnhardt, Eur Radiol 2003; 13:2409).
    """
    e1, e2 = math.exp(-repetition_time / t1), math.exp(-repetition_time / t2)
    angle = math.radians(flip_angle)
    steady = math.sin(angle) * (1 - e1) / (1 - (e1 - e2) * math.cos(angle) - e1 * e2)
    return proton_density * steady * math.exp(-echo_time / t2)


def inversion_recovery_signal(
    proton_density: float, t1: float, *, inversion_time: float, repetition_time: float
) -> float:
    """Signed longitudinal magnetisation at the readout of a repeated inversion; times in ms.

    M0 (1 - 2 exp(-TI / T1) + exp(-TR / T1)), TR being the time between inversions. It is negative before the null
    point; a magnitude image shows its absolute value (Kellman and Arai, J Magn Reson Imaging 2012; 36:529).
    """
    return proton_density * (1 - 2 * math.exp(-inversion_time / t1) + math.exp(-repetition_time / t1))


def t2_prepared_signal(
    proton_density: float, t1: float, t2: float, *, preparation_time: float, repetition_time: float
) -> float:
    """Magnetisation that is read out after a T2 preparation; times in ms.

    M0 (1 - exp(-TR / T1)) exp(-TE / T2), TE being the length of the preparation and TR the time between preparations:
    the equation of a spin echo. Unlike in a black-blood spin echo the blood keeps its signal (Kellman et al., Magn
    Reson Med 2007; 57:891).
    """
    return proton_density * (1 - math.exp(-repetition_time / t1)) * math.exp(-preparation_time / t2)


def null_time(t1: float, repetition_time: float) -> float:
    """Inversion time in ms at which `inversion_recovery_signal` vanishes for a tissue of that T1."""
    return t1 * math.log(2 / (1 + math.exp(-repetition_time / t1)))


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


def _profile(height: float) -> float:
    """Radius of the ventricle at a height (0 apex, 1 base) over its greatest, which lies at 0.7."""
    if height <= 0.7:
        return math.sqrt(max(0.0, 1 - ((height - 0.7) / 0.7) ** 2))
    return 1 - 0.1 * ((height - 0.7) / 0.3) ** 2


def _coverage(distance: Floats, softness: float) -> Floats:
    """Fraction of a pixel inside a shape whose signed distance (positive inside) is that at the pixel's centre."""
    return np.clip(distance * np.float32(1 / softness) + np.float32(0.5), 0, 1)


def _ellipse(x: Floats, y: Floats, semi_x: float, semi_y: float) -> Floats:
    """Signed distance to an ellipse about the origin, positive inside, to first order."""
    a, b = x / np.float32(semi_x), y / np.float32(semi_y)
    level = np.sqrt(a * a + b * b) + np.float32(1e-6)
    gradient = np.sqrt((a / semi_x) ** 2 + (b / semi_y) ** 2) / level + np.float32(1e-6)
    return (1 - level) / gradient


def _smooth_maximum(first: Floats, second: Floats, width: float) -> Floats:
    """Union of two shapes whose meeting corner is rounded over `width` mm."""
    blend = np.clip(1 - np.abs(first - second) / width, 0, 1)
    return np.maximum(first, second) + (0.25 * width) * blend * blend


class _Layers:
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


def _heart(
    anatomy: Anatomy, x: Floats, y: Floats, z: float, pixel: float, thickness: float
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Tissue fractions of the heart in one thin slice, and those of the structures that an observer contours."""
    a = anatomy
    fine, middle = a.texture_fine(x, y, z), a.texture_middle(x, y, z)
    wide = a.texture_wide(x, y, z)
    height = z / a.length
    x = x[None, :] - np.float32(a.drift[0] * (height - 0.5)) + np.float32(0.8) * wide
    y = y[:, None] - np.float32(a.drift[1] * (height - 0.5)) + np.float32(0.3) * middle
    radius = np.sqrt(x * x + y * y) + np.float32(1e-3)
    cos, sin = x / radius, y / radius

    # Endocardium and epicardium share their ellipticity, so that the wall never vanishes.
    shape = 1 + a.ellipticity[0] * (cos * cos - sin * sin) + a.ellipticity[1] * (2 * cos * sin)
    endo_height = (z - a.apical_wall) / (a.length - a.apical_wall)
    endo_radius = a.endo_radius * _profile(endo_height) if endo_height > 0 else -1e3
    epi_radius = (a.endo_radius + a.wall) * _profile(height) if height > 0 else -1e3
    endo, epi = endo_radius * shape - radius, epi_radius * shape - radius
    below_base = np.float32(a.length) + a.base_tilt[0] * x + a.base_tilt[1] * y - np.float32(z)
    ventricle = _coverage(below_base, thickness)

    # In the frame of the right ventricle u points from the left ventricle through the septum, v along the septum.
    c, s = math.cos(a.rv_angle), math.sin(a.rv_angle)
    u, v = c * x + s * y, -s * x + c * y
    rv_height = (z - a.rv_apex) / (a.length + 4 - a.rv_apex)
    rv_scale = math.sqrt(1 - (1 - min(rv_height, 1)) ** 2) if rv_height > 0 else 0.0
    if rv_scale > 0.15:
        reach = max(epi_radius, 5) + a.rv_protrusion * rv_scale
        # Bent about the left ventricle, and narrower towards the free wall.
        across = (v - a.rv_lift * rv_scale - 0.15 * u) * (0.8 + 0.4 * np.clip(u / reach, 0, 1.2))
        rv = _ellipse(u + 0.004 * v * v - reach / 2, across, reach / 2, a.rv_half_width * rv_scale**0.7)
        rv += np.float32(0.8) * wide
    else:
        rv = np.full_like(radius, -1e3)

    layers = _Layers(radius.shape)
    # Vessels at the base: aortic root between the inflow and the outflow of the right ventricle, then the atria.
    above = z - a.length
    root = 12 - np.sqrt((u - 0.72 * a.endo_radius - 10) ** 2 + (v + 2) ** 2)
    if above > -4:
        layers.paint("right blood", _coverage(root, pixel))
        layers.paint("muscle", _coverage(root + 2, pixel))
    lv = layers.paint("blood", _coverage(endo, pixel) * ventricle)
    wall = _coverage(epi, pixel) * ventricle
    muscle_inside = _inside_left_ventricle(a, x, y, height, endo, fine, pixel) * lv
    layers.add("blood", -muscle_inside)
    scar = _coverage(_scar_distance(a, cos, sin, height, endo, epi, middle, fine), 2)
    scar = scar * np.clip(1 + 0.15 * fine, 0.4, 1)
    myo = layers.remaining * wall
    layers.paint("scar", scar * wall)
    layers.paint("myocardium", wall)
    layers.add("myocardium", muscle_inside)

    right = layers.paint("right blood", _coverage(rv, pixel) * _coverage(below_base + 3, thickness))
    bands = right * (np.float32(min(1, 0.8 * a.trabeculation)) * np.clip((fine - 0.8 - rv_scale * 0.3) * 1.5, 0, 1))
    layers.add("right blood", -bands)
    layers.add("myocardium", bands)
    layers.paint("myocardium", _coverage(rv + 2.5, pixel) * _coverage(below_base + 3, thickness))
    # A smooth maximum: fat fills the grooves between the ventricles.
    outline = _smooth_maximum(epi, rv + np.float32(2.5), 12)
    if above > -12:
        left_atrium = _ellipse(u + 4, v - 4, 0.85 * a.endo_radius + 2, a.endo_radius + 3)
        right_atrium = _ellipse(u - a.endo_radius - 28, v - 20, 19, 18) + 2 * middle
        outflow = _ellipse(u - a.endo_radius - 22, v + 24, 15, 14) + middle
        beyond = 1 - ventricle
        for tissue, chamber in (("blood", left_atrium), ("right blood", right_atrium), ("right blood", outflow)):
            layers.paint(tissue, _coverage(chamber, pixel) * beyond)
            layers.paint("muscle", _coverage(chamber + 1.2, pixel) * beyond)
            outline = np.maximum(outline, np.where(above > -2, chamber + 2, -1e3))
        if above < 8:
            layers.paint("right blood", _coverage(rv, pixel))
            layers.paint("muscle", _coverage(epi, pixel))
    fat = np.clip(a.epicardial_fat * (0.6 + 0.5 * u / radius) + 1.2 * wide + 0.3 * middle, 0.3, None)
    layers.paint("fat", _coverage(outline + fat, pixel))
    return layers.fractions, {"LV": lv, "MYO": myo, "RV": right}


def _inside_left_ventricle(
    a: Anatomy, x: Floats, y: Floats, height: float, endo: Floats, fine: Floats, pixel: float
) -> Floats:
    """Fraction of muscle inside the endocardial contour: papillary muscles, and trabeculae mostly towards the apex."""
    depth = np.float32(4.0 + 5.0 * max(0.0, 0.5 - height))
    fringe = np.clip(1 - endo / depth, 0, 1)
    muscle = np.clip((fine + 2.2 * fringe - 2.0) * np.float32(1.2), 0, 1) * np.float32(min(1, a.trabeculation))
    if 0.25 < height < 0.72:
        size = a.papillary_radius * math.sqrt(1 - ((height - 0.48) / 0.24) ** 2) if abs(height - 0.48) < 0.24 else 0
        place = a.endo_radius * _profile(height) * (0.82 - 0.35 * max(0.0, height - 0.3))
        for angle in a.papillary_angles:
            c, s = math.cos(angle), math.sin(angle)
            along, across = c * x + s * y - place, -s * x + c * y
            muscle = np.maximum(muscle, _coverage(_ellipse(along, across, 1.3 * size + 0.1, size + 0.1), pixel))
    return muscle


def _scar_distance(
    a: Anatomy, cos: Floats, sin: Floats, height: float, endo: Floats, epi: Floats, middle: Floats, fine: Floats
) -> Floats:
    """Signed distance in mm across the wall to the border of the scar, positive inside."""
    if a.scar is None:
        return np.full_like(cos, -1e3)
    turn = (1 - cos * math.cos(a.scar.angle) - sin * math.sin(a.scar.angle)) / (1 - math.cos(a.scar.half_width))
    rise = ((height - a.scar.height) / a.scar.half_height) ** 2
    extent = np.minimum(1, 1.3 * (1 - turn - rise)) + 0.15 * middle + 0.05 * fine
    return a.scar.transmurality * extent * (epi - endo) + endo


def slice_fractions(
    anatomy: Anatomy, x: Floats, y: Floats, z: float, pixel: float, thickness: float
) -> tuple[dict[str, Floats], NDArray[np.int16]]:
    """What one slice of the anatomy holds.

    Args:
        anatomy: the patient.
        x: column centres in mm, ascending, shape (nx,).
        y: row centres in mm, ascending, shape (ny,).
        z: height of the slice's middle in mm.
        pixel: pixel size in mm, the width over which edges are averaged.
        thickness: slice thickness in mm, over which the heart is averaged.

    Returns:
        The fraction of each tissue (names of `TISSUES`; air is what is missing to 1), shape (ny, nx) each, and the
        labels in the codes of MS-CMRSeg, shape (ny, nx). Papillary muscles belong to the left ventricle's cavity.
    """
    columns = slice(*np.searchsorted(x, (-105, 70)))
    rows = slice(*np.searchsorted(y, (-80, 80)))
    layers = _Layers((len(y), len(x)))
    labels = np.zeros((len(y), len(x)), np.int16)
    sub_slices = max(2, round(thickness / 3))
    observed: dict[str, Floats] = {}
    for step in range(sub_slices):
        height = z + ((step + 0.5) / sub_slices - 0.5) * thickness
        tissues, structures = _heart(anatomy, x[columns], y[rows], height, pixel, thickness / sub_slices)
        for tissue, part in tissues.items():
            whole = layers.fractions.setdefault(tissue, np.zeros(labels.shape, np.float32))
            whole[rows, columns] += part / sub_slices
            layers.remaining[rows, columns] -= part / sub_slices
        for name, part in structures.items():
            observed[name] = observed.get(name, 0) + part / sub_slices
    lv, myo, rv = observed["LV"], observed["MYO"], observed["RV"]
    inside = np.select(
        [lv + myo + rv <= 0.5, (rv > lv) & (rv > myo), lv >= myo], [0, RV_CODE, LV_CODE], default=MYO_CODE
    )
    labels[rows, columns] = inside
    _paint_thorax(layers, anatomy, x, y, z, pixel)
    return layers.fractions, labels


def _paint_thorax(layers: _Layers, anatomy: Anatomy, x: Floats, y: Floats, z: float, pixel: float) -> None:
    """Paint what lies around the heart: aorta, spine, liver, stomach, lungs, chest wall and the fat under the skin."""
    a = anatomy
    wide, wide_2, middle = a.texture_wide(x, y, z), a.texture_wide_2(x, y, z), a.texture_middle(x, y, z)
    fine = a.texture_fine(x, y, z)
    x, y = x[None, :] + 2 * wide_2, y[:, None] + 2 * wide
    c, s = math.cos(a.chest_angle), math.sin(a.chest_angle)
    front, side = c * x + s * y, -s * x + c * y
    depth, width = a.chest_semiaxes
    # The apex lies nearest to the chest wall.
    wall = a.chest_distance + 0.6 * z
    chest = _ellipse(front - (wall - depth), side, depth, width)

    back = wall - 2 * depth
    layers.paint("blood", _coverage(_ellipse(front - back - 42, side + 12, 11, 24), pixel))
    spine = 17 - np.abs(front - back - 12)
    disc = np.cos(side * np.float32(2 * np.pi / 36) + a.rib_phase) * 6 + 4
    layers.paint("marrow", _coverage(np.minimum(spine, disc), 2 * pixel))
    layers.paint("muscle", 0.8 * _coverage(spine, 2 * pixel))

    below = 3 * wide - (y + a.endo_radius + a.wall + a.diaphragm - a.diaphragm_slope * x + a.diaphragm_bend * x * x)
    below = below - np.float32(0.12 * (z - 40))
    cavity = _coverage(chest, pixel)
    layers.paint("fat", _coverage(1.8 + wide - np.abs(below), pixel) * cavity)
    organ = _coverage(below, pixel) * cavity
    gap = x - 45 - 8 * wide_2
    layers.paint("fat", organ * _coverage(3 - np.abs(gap), pixel))
    layers.paint("stomach", organ * _coverage(gap, pixel) * np.clip(0.8 + 0.5 * middle, 0, 1))
    layers.paint("right blood", organ * (0.7 * np.clip((middle - 1.3) * 2, 0, 1)))
    layers.paint("liver", organ)

    # The pericardial fat pad fills the corner between heart, chest wall and diaphragm.
    pad = 14 + 0.15 * (40 - z) + 7 * wide + 1.5 * middle - chest - 0.004 * side * side
    layers.paint("fat", cavity * _coverage(pad, 2) * np.clip(0.95 + 0.15 * middle, 0, 1))
    layers.paint("right blood", cavity * np.clip(middle - 1.1, 0, 1) * np.clip(fine - 0.6, 0, 0.8))
    layers.paint("lung", cavity)

    under = -chest
    along = (side + 6 * wide_2 + 2 * z) * np.float32(2 * np.pi / 30) + a.rib_phase
    ribs = 5 - np.sqrt((under - 7) ** 2 + (5 * np.cos(along) - 5) ** 2)
    layers.paint("marrow", 0.9 * _coverage(ribs - 1.2, pixel))
    layers.paint("bone", _coverage(ribs, pixel))
    layers.paint("fat", _coverage(1.5 + wide - np.abs(under - 3), pixel) * np.clip(0.5 + middle, 0, 0.9))
    layers.paint("muscle", _coverage(14 + 2 * wide + middle - under, pixel))
    skin = 14 + a.subcutaneous_fat + 3 * wide - under
    layers.paint("muscle", 0.7 * _coverage(1.2 - np.abs(skin), pixel))
    layers.paint("fat", _coverage(skin, pixel) * (1 - 0.35 * np.clip(middle - 0.8, 0, 1)))


@dataclass(frozen=True)
class Acquisition:
    """How a scanner sees a patient: one modality's geometry, signals and imperfections.

    Attributes:
        matrix: pixels along each side of the square image.
        pixel: in-plane spacing in mm.
        thickness: distance between slices and their thickness in mm.
        heights: height of each slice above the epicardial apex in mm, ascending, so that slice 0 is apical.
        centre: (x, y) of the middle of the field of view in mm.
        shifts: displacement of the anatomy by breathing in each slice, (x, y) in mm, shape (slices, 2).
        signals: signal of each tissue in each slice; that of blood is about 1.
        acquired_pixel: spacing that the sampled part of k-space resolves in mm; the rest is filled with zeros.
        noise: standard deviation of the noise in each channel, over the signal of blood.
        coil: (x, y) of the receive coil in mm and the distance in mm over which its sensitivity falls by half.
        flow: modulation of the brightness by inflow and other smooth imperfections.
        flow_strength: its standard deviation.
        gain: stored value of the signal of blood.
    """

    matrix: int
    pixel: float
    thickness: float
    heights: tuple[float, ...]
    centre: tuple[float, float]
    shifts: NDArray[np.float64]
    signals: tuple[Mapping[str, float], ...]
    acquired_pixel: float
    noise: float
    coil: tuple[float, float, float]
    flow: Texture
    flow_strength: float
    gain: float


def draw_acquisition(
    rng: np.random.Generator, modality: Modality, anatomy: Anatomy, matrix_scale: float = 1.0
) -> Acquisition:
    """Draw the protocol, the patient's breath-holds and the imperfections of one examination.

    `matrix_scale` (0.1 to 2) multiplies the matrix and divides the pixel size, so that the field of view stays.

    Raises:
        InputError: `matrix_scale` is out of range.
    """
    if not 0.1 <= matrix_scale <= 2:
        raise InputError(f"the phantom's matrix_scale is {matrix_scale}: expected a number from 0.1 to 2")
    if modality == "bSSFP":
        full_matrix = int(rng.choice((256, 288, 320)))
        full_pixel = rng.uniform(1.19, 1.25)
        thickness = float(rng.choice((8, 10, 11, 12, 13), p=(0.6, 0.1, 0.1, 0.1, 0.1)))
        fewest, most, beyond = 8, 14, rng.uniform(6, 24)
    elif modality == "T2":
        full_matrix = int(rng.choice((256, 288)))
        full_pixel = rng.uniform(1.3, 1.4)
        thickness, fewest, most, beyond = rng.uniform(12, 23), 3, 7, rng.uniform(-40, 6)
    else:
        full_matrix = int(rng.choice((400, 416, 432, 448, 480, 512)))
        full_pixel = rng.uniform(0.73, 0.76)
        thickness, fewest, most, beyond = 5.0, 10, 20, rng.uniform(-8, 6)
    matrix = 2 * round(full_matrix * matrix_scale / 2)
    first = rng.uniform(-0.3, 0.7) * thickness
    slices = int(np.clip(round((anatomy.length + beyond - first) / thickness) + 1, fewest, most))
    if modality == "bSSFP":
        signals = [_bssfp_signals(rng)] * slices
        noise, acquired_pixel, flow_strength, gain = rng.uniform(0.02, 0.08), 1.4, 0.14, rng.uniform(400, 900)
    elif modality == "T2":
        signals = [_t2_prepared_signals(rng)] * slices
        noise, acquired_pixel, flow_strength, gain = rng.uniform(0.03, 0.08), 1.7, 0.16, rng.uniform(150, 500)
    else:
        signals = _late_enhancement_signals(rng, slices)
        noise, acquired_pixel, flow_strength, gain = rng.uniform(0.05, 0.125), 1.5, 0.18, rng.uniform(110, 440)
    reach = anatomy.chest_distance + 70
    return Acquisition(
        matrix=matrix,
        pixel=full_pixel * full_matrix / matrix,
        thickness=thickness,
        heights=tuple(first + thickness * index for index in range(slices)),
        centre=(rng.normal(0, 12), rng.normal(0, 12)),
        shifts=rng.normal(0, 2.5, 2) + rng.normal(0, 0.6, (slices, 2)),
        signals=tuple(signals),
        acquired_pixel=acquired_pixel,
        noise=noise,
        coil=(
            reach * math.cos(anatomy.chest_angle),
            reach * math.sin(anatomy.chest_angle),
            rng.uniform(200, 400),
        ),
        flow=Texture(rng, 12, 100),
        flow_strength=flow_strength,
        gain=gain,
    )


def _bssfp_signals(rng: np.random.Generator) -> dict[str, float]:
    sequence = {
        "flip_angle": rng.uniform(50, 70),
        "repetition_time": rng.uniform(2.7, 3.3),
        "echo_time": rng.uniform(1.3, 1.6),
    }
    signals = {
        name: bssfp_signal(t.proton_density, t.t1 * rng.normal(1, 0.04), t.t2 * rng.normal(1, 0.08), **sequence)
        for name, t in TISSUES.items()
    }
    # The phase between fat and water depends on the repetition time and the centre frequency: where they are opposed,
    # their borders are dark.
    signals["fat"] *= rng.choice((-1, 1))
    return {name: signal / signals["blood"] for name, signal in signals.items()}


def _late_enhancement_signals(rng: np.random.Generator, slices: int) -> list[dict[str, float]]:
    repetition_time = rng.uniform(1500, 2200)
    t1 = {name: tissue.t1_post_contrast * rng.normal(1, 0.05) for name, tissue in TISSUES.items()}
    t1["scar"] = t1["blood"] * rng.uniform(0.45, 0.8)
    t1["right blood"] = t1["blood"] * rng.normal(1.07, 0.03)
    inversion_time = null_time(t1["myocardium"], repetition_time) * rng.uniform(1.02, 1.54)

    def at(time: float) -> dict[str, float]:
        return {
            name: inversion_recovery_signal(
                tissue.proton_density, t1[name], inversion_time=time, repetition_time=repetition_time
            )
            for name, tissue in TISSUES.items()
        }

    blood = at(inversion_time)["blood"]
    times = inversion_time * rng.normal(1, 0.02, slices)
    return [{name: signal / blood for name, signal in at(time).items()} for time in times]


def _t2_prepared_signals(rng: np.random.Generator) -> dict[str, float]:
    sequence = {"preparation_time": rng.uniform(45, 60), "repetition_time": rng.uniform(1500, 2800)}
    t2 = {name: tissue.t2 * rng.normal(1, 0.08) for name, tissue in TISSUES.items()}
    # Oedema, where the scar is and around it: a third above the healthy myocardium (Giri et al., J Cardiovasc Magn
    # Reson 2009; 11:56), less as it heals.
    t2["scar"] = t2["myocardium"] * rng.uniform(1.15, 1.5)
    signals = {
        name: t2_prepared_signal(tissue.proton_density, tissue.t1 * rng.normal(1, 0.04), t2[name], **sequence)
        for name, tissue in TISSUES.items()
    }
    signals["fat"] *= rng.uniform(0.1, 0.4)  # saturated
    return {name: signal / signals["blood"] for name, signal in signals.items()}


def oedematous(anatomy: Anatomy) -> Anatomy:
    """The anatomy as T2 shows it, whose scar is the oedema: wider than it, and through more of the wall."""
    scar = anatomy.scar and replace(
        anatomy.scar,
        half_width=1.3 * anatomy.scar.half_width,
        half_height=1.3 * anatomy.scar.half_height,
        transmurality=min(1.2, 1.5 * anatomy.scar.transmurality),
    )
    return replace(anatomy, scar=scar)


def acquire_slice(
    rng: np.random.Generator, magnetisation: Floats, pixel: float, acquired_pixel: float, noise: float
) -> Floats:
    """Magnitude image of a signed magnetisation, shape (ny, nx), from a finite and noisy k-space.

    Frequencies beyond 1 / (2 `acquired_pixel`) (mm) are dropped, the outermost tapered; `noise` is the standard
    deviation in the real and imaginary channel of the image, so that the magnitude is Rician.
    """
    window = np.ones(magnetisation.shape, np.float32)
    for axis, length in enumerate(magnetisation.shape):
        frequency = np.abs(scipy.fft.fftfreq(length, pixel)) * 2 * acquired_pixel
        taper = np.where(frequency < 1, 0.5 + 0.5 * np.cos(np.pi * np.clip(3 * frequency - 2, 0, 1)), 0)
        window *= np.expand_dims(taper.astype(np.float32), 1 - axis)
    white = np.float32(noise / math.sqrt(float(np.mean(window**2))))
    real, imaginary = white * rng.standard_normal((2, *magnetisation.shape), dtype=np.float32)
    spectrum = scipy.fft.fft2(magnetisation + real + np.complex64(1j) * imaginary)
    return np.abs(scipy.fft.ifft2(spectrum * window))


class Drawn(NamedTuple):
    """An image and its labels, int16, shape (z, y, x), slice 0 apical; spacing (z, y, x) in mm; affine of (x, y, z)."""

    image: NDArray[np.int16]
    labels: NDArray[np.int16]
    spacing: tuple[float, float, float]
    affine: NDArray[np.float64]


def acquire(rng: np.random.Generator, anatomy: Anatomy, acquisition: Acquisition, frame: NDArray[np.float64]) -> Drawn:
    """Image an anatomy; `frame` is the (4, 4) affine that takes the left ventricle's (x, y, z) to the scanner's."""
    a = acquisition
    offsets = ((np.arange(a.matrix) - (a.matrix - 1) / 2) * a.pixel).astype(np.float32)
    x, y = offsets + np.float32(a.centre[0]), offsets + np.float32(a.centre[1])
    distance_squared = ((x[None, :] - a.coil[0]) ** 2 + (y[:, None] - a.coil[1]) ** 2) / a.coil[2] ** 2
    shading = (1 + (a.coil[0] ** 2 + a.coil[1] ** 2) / a.coil[2] ** 2) / (1 + distance_squared)
    image = np.zeros((len(a.heights), a.matrix, a.matrix), np.int16)
    labels = np.zeros_like(image)
    for index, (height, shift, signals) in enumerate(zip(a.heights, a.shifts, a.signals, strict=True)):
        here, there = x - np.float32(shift[0]), y - np.float32(shift[1])
        fractions, labels[index] = slice_fractions(anatomy, here, there, height, a.pixel, a.thickness)
        magnetisation = sum(np.float32(signals[tissue]) * part for tissue, part in fractions.items())
        mottle = a.flow_strength * a.flow(x, y, height)
        magnitude = acquire_slice(rng, magnetisation * shading * (1 + mottle), a.pixel, a.acquired_pixel, a.noise)
        image[index] = np.rint(np.clip(a.gain * magnitude, 0, 32767))
    to_patient = np.diag((a.pixel, a.pixel, a.thickness, 1.0))
    to_patient[:3, 3] = x[0], y[0], a.heights[0]
    return Drawn(image, labels, (a.thickness, a.pixel, a.pixel), frame @ to_patient)


def draw_frame(rng: np.random.Generator) -> NDArray[np.float64]:
    """Pose of the left ventricle in the scanner's frame (RAS, mm), shape (4, 4): x runs backwards, y upwards."""
    long_axis = np.array((0.6, -0.65, 0.45)) + rng.normal(0, 0.07, 3)
    long_axis /= np.linalg.norm(long_axis)
    columns = np.array((-0.65, -0.72, -0.15)) + rng.normal(0, 0.07, 3)
    columns -= long_axis * (columns @ long_axis)
    columns /= np.linalg.norm(columns)
    frame = np.eye(4)
    # Left-handed, as the volumes of the release are.
    frame[:3, :3] = np.stack((columns, -np.cross(long_axis, columns), long_axis), axis=1)
    frame[:3, 3] = np.array((-60, 20, -20)) + rng.normal(0, 15, 3)
    return frame


def draw_patient(
    patient: int, seed: int, matrix_scale: float = 1.0, modalities: Iterable[Modality] = MODALITIES
) -> dict[Modality, Drawn]:
    """Draw a patient and image it; a function of (seed, patient, matrix_scale), whichever modalities are asked for."""
    anatomy = draw_anatomy(np.random.default_rng((seed, patient, 0)))
    frame = draw_frame(np.random.default_rng((seed, patient, 1)))
    drawn: dict[Modality, Drawn] = {}
    for modality in modalities:
        rng = np.random.default_rng((seed, patient, 2 + MODALITIES.index(modality)))
        seen = oedematous(anatomy) if modality == "T2" else anatomy
        drawn[modality] = acquire(rng, seen, draw_acquisition(rng, modality, anatomy, matrix_scale), frame)
    return drawn


def release_files(folder: Path, patient: int) -> dict[str, Path]:
    """Where the files of a patient lie in the layout of the release, by modality, and "bSSFP_labels" and so on.

    Patients after 35 have no "bSSFP_labels" and no "T2_labels". The labels of LGE after patient 5 are the challenge's
    test set and lie in a folder of their own.

    Raises:
        InputError: `patient` is below 1.
    """
    if patient < 1:
        raise InputError(f"there is no patient {patient} in MS-CMRSeg: its patients are numbered from 1")
    training = Path(folder) / "C0LET2_nii45_for_challenge19"
    images = training / "c0t2lge"
    files = {
        "bSSFP": images / f"patient{patient}_C0.nii.gz",
        "LGE": images / f"patient{patient}_LGE.nii.gz",
        "T2": images / f"patient{patient}_T2.nii.gz",
    }
    if patient <= LAST_TRAINING_PATIENT:
        files["bSSFP_labels"] = training / "c0gt" / f"patient{patient}_C0_manual.nii.gz"
        files["T2_labels"] = training / "t2gt" / f"patient{patient}_T2_manual.nii.gz"
    if patient <= LAST_VALIDATION_PATIENT:
        lge_labels = training / "lgegt"
    else:
        lge_labels = Path(folder) / "C0LET2_gt_for_challenge19" / "LGE_manual_35_TestData"
    files["LGE_labels"] = lge_labels / f"patient{patient}_LGE_manual.nii.gz"
    return files


def write_patient(
    folder: Path, patient: int, seed: int, matrix_scale: float = 1.0, modalities: Iterable[Modality] = MODALITIES
) -> None:
    """Draw one patient and write its files in the layout of the release; the same arguments give the same bytes."""
    files = release_files(folder, patient)
    for modality, volume in draw_patient(patient, seed, matrix_scale, modalities).items():
        volumes.write(files[modality], volume.image, volume.affine)
        if f"{modality}_labels" in files:
            volumes.write(files[f"{modality}_labels"], volume.labels, volume.affine)
