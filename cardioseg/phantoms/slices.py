"""Slices through an anatomy: the fraction of every tissue in every pixel, and what an observer contours in it."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cardioseg.phantoms.anatomy import Anatomy, profile
from cardioseg.phantoms.shapes import Floats, Layers, coverage, ellipse, smooth_maximum

LV_CODE, MYO_CODE, RV_CODE = 500, 200, 600
SCAR_CODE, CORE_CODE = 1, 2
AORTIC_RADIUS = 12  # mm


class Slice(NamedTuple):
    """What one slice holds.

    Attributes
    ----------
    fractions : dict of str to ndarray, shape (ny, nx)
        The fraction of each tissue of `signals.TISSUES`. The rest is air.
    labels : ndarray of int16, shape (ny, nx)
        Structures in the codes of MS-CMRSeg. Papillary muscles belong to the left ventricle's cavity.
    scar : ndarray of int16, shape (ny, nx)
        `SCAR_CODE` where most of the myocardium is enhanced, `CORE_CODE` in a dark core, 0 elsewhere.
    segments : ndarray of int16, shape (ny, nx)
        Numbers of the AHA segments in the myocardium, 0 elsewhere.
    """

    fractions: dict[str, Floats]
    labels: NDArray[np.int16]
    scar: NDArray[np.int16]
    segments: NDArray[np.int16]


class _Plane(NamedTuple):
    """The heart's muscle in one plane, pixel by pixel.

    x and y are mm from the long axis, radius, cos and sin the same in polar coordinates; u points from the left
    ventricle through the septum, v along the septum. endo and epi are signed distances in mm to the left ventricle's
    borders, positive inside; fine, middle and wide are the textures that make borders ragged.
    """

    x: Floats
    y: Floats
    z: float
    height: float
    pixel: float
    radius: Floats
    cos: Floats
    sin: Floats
    u: Floats
    v: Floats
    endo: Floats
    epi: Floats
    epi_radius: float
    fine: Floats
    middle: Floats
    wide: Floats


def _plane(a: Anatomy, x: Floats, y: Floats, z: float, pixel: float) -> _Plane:
    fine, middle, wide = a.texture_fine(x, y, z), a.texture_middle(x, y, z), a.texture_wide(x, y, z)
    height = z / a.length
    axis = _axis(a, z)
    x = x[None, :] - axis[0] + np.float32(0.8) * wide
    y = y[:, None] - axis[1] + np.float32(0.3) * middle
    radius = np.sqrt(x * x + y * y) + np.float32(1e-3)
    cos, sin = x / radius, y / radius
    # Endocardium and epicardium share their ellipticity, so that the wall never vanishes.
    shape = 1 + a.ellipticity[0] * (cos * cos - sin * sin) + a.ellipticity[1] * (2 * cos * sin)
    endo_height = (z - a.apical_wall) / (a.length - a.apical_wall)
    endo_radius = a.endo_radius * profile(endo_height) if endo_height > 0 else -1e3
    epi_radius = (a.endo_radius + a.wall) * profile(height) if height > 0 else -1e3
    endo, epi = endo_radius * shape - radius, epi_radius * shape - radius
    c, s = math.cos(a.rv_angle), math.sin(a.rv_angle)
    u, v = c * x + s * y, -s * x + c * y
    return _Plane(x, y, z, height, pixel, radius, cos, sin, u, v, endo, epi, epi_radius, fine, middle, wide)


def _heart(
    anatomy: Anatomy, x: Floats, y: Floats, z: float, pixel: float, thickness: float
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Tissue fractions of the heart in one thin slice, and those of the structures that an observer contours."""
    a, here = anatomy, _plane(anatomy, x, y, z, pixel)
    endo, epi = here.endo, here.epi
    below_base = np.float32(a.length) + a.base_tilt[0] * here.x + a.base_tilt[1] * here.y - np.float32(z)
    ventricle = coverage(below_base, thickness)
    # Towards the outflow tract the wall ends earlier, so that it is open there, in the shape of a C.
    rim = coverage(below_base - np.float32(a.opening_depth) * _opening(a, here), thickness)
    rv = _right_ventricle(a, here)

    layers = Layers(here.radius.shape)
    lv = layers.paint("blood", coverage(endo, pixel) * ventricle)
    muscle_inside = _inside_left_ventricle(a, here) * lv
    layers.add("blood", -muscle_inside)
    # Outflow tract and aortic root lie in the opening and press on the right ventricle.
    root = AORTIC_RADIUS - np.hypot(here.u - a.endo_radius - 0.5 * a.wall, here.v)
    layers.paint("blood", coverage(root, pixel) * (1 - rim))
    layers.paint("muscle", np.maximum(coverage(root + 2, pixel), coverage(endo + 2.5, pixel)) * (1 - rim) * ventricle)
    layers.paint("muscle", coverage(root + 2, pixel) * (1 - ventricle))
    wall = coverage(epi, pixel) * rim
    myo = layers.remaining * wall
    scar, core = _scar(a, here)
    core = layers.paint("obstruction", core * wall)
    scar = layers.paint("scar", scar * wall)
    layers.paint("myocardium", wall)
    layers.add("myocardium", muscle_inside)

    right = layers.paint("right blood", coverage(rv, pixel) * coverage(below_base + 3, thickness))
    bands = right * (np.float32(min(1, 0.8 * a.trabeculation)) * np.clip((here.fine - 1.1) * 1.5, 0, 1))
    layers.add("right blood", -bands)
    layers.add("myocardium", bands)
    layers.paint("myocardium", coverage(rv + 2.5, pixel) * coverage(below_base + 3, thickness))
    # A smooth maximum: fat fills the grooves between the ventricles.
    outline = smooth_maximum(epi, rv + np.float32(2.5), 12)
    outline = np.maximum(outline, _paint_above_the_base(layers, a, here, ventricle, rv))
    # A coronary artery runs in either groove between the ventricles, as far from the one as from the other.
    layers.paint("blood", coverage(1.8 - np.hypot(epi + 4, rv + 6.5), pixel))
    fat = a.epicardial_fat * (0.6 + 0.5 * here.u / here.radius) + 1.2 * here.wide + 0.3 * here.middle
    layers.paint("fat", coverage(outline + np.clip(fat, 0.3, None), pixel))
    return layers.fractions, {"LV": lv, "MYO": myo, "RV": right, "scar": scar, "core": core}


def _opening(a: Anatomy, here: _Plane) -> Floats:
    """How far the left ventricle's wall is open in a direction: 1 in the middle of the opening, 0 outside of it."""
    edge = math.cos(a.opening_half_width)
    inside = math.cos(a.opening_angle) * here.cos + math.sin(a.opening_angle) * here.sin - edge
    return np.clip(inside * np.float32(2 / (1 - edge)), 0, 1)


def _right_ventricle(a: Anatomy, here: _Plane) -> Floats:
    """Signed distance in mm to the right ventricle's inner border, positive inside."""
    u, v, ragged = here.u, here.v, np.float32(0.8) * here.wide
    height = (here.z - a.rv_apex) / (a.length + 4 - a.rv_apex)
    scale = math.sqrt(1 - (1 - min(height, 1)) ** 2) if height > 0 else 0.0
    if scale <= 0.15:
        return np.full_like(u, -1e3) + ragged
    reach = max(here.epi_radius, 5) + a.rv_protrusion * scale
    # Bent about the left ventricle, and narrower towards the free wall.
    across = (v - a.rv_lift * scale - 0.15 * u) * (0.8 + 0.4 * np.clip(u / reach, 0, 1.2))
    return ellipse(u + 0.004 * v * v - reach / 2, across, reach / 2, a.rv_half_width * scale**0.7) + ragged


def _paint_above_the_base(layers: Layers, a: Anatomy, here: _Plane, ventricle: Floats, rv: Floats) -> Floats:
    """Paint atria and outflow tract where the ventricles end; returns the signed distance to the border of these."""
    u, v, above = here.u, here.v, here.z - a.length
    outline = np.full_like(u, -1e3)
    if above <= -12:
        return outline
    left_atrium = ellipse(u + 4, v - 4, 0.85 * a.endo_radius + 2, a.endo_radius + 3)
    right_atrium = ellipse(u - a.endo_radius - 28, v - 20, 19, 18) + 2 * here.middle
    outflow = ellipse(u - a.endo_radius - 22, v + 24, 15, 14) + here.middle
    beyond = 1 - ventricle
    for tissue, chamber in (("blood", left_atrium), ("right blood", right_atrium), ("right blood", outflow)):
        layers.paint(tissue, coverage(chamber, here.pixel) * beyond)
        layers.paint("muscle", coverage(chamber + 1.2, here.pixel) * beyond)
        if above > -2:
            outline = np.maximum(outline, chamber + 2)
    if above < 8:
        layers.paint("right blood", coverage(rv, here.pixel))
        layers.paint("muscle", coverage(here.epi, here.pixel))
    return outline


def _inside_left_ventricle(a: Anatomy, here: _Plane) -> Floats:
    """Fraction of muscle inside the endocardial contour: papillary muscles, and trabeculae mostly towards the apex."""
    x, y, height = here.x, here.y, here.height
    depth = np.float32(4.0 + 5.0 * max(0.0, 0.5 - height))
    fringe = np.clip(1 - here.endo / depth, 0, 1)
    muscle = np.clip((here.fine + 2.2 * fringe - 2.0) * np.float32(1.2), 0, 1) * np.float32(min(1, a.trabeculation))
    if 0.25 < height < 0.72:
        size = a.papillary_radius * math.sqrt(1 - ((height - 0.48) / 0.24) ** 2) if abs(height - 0.48) < 0.24 else 0
        place = a.endo_radius * profile(height) * (0.82 - 0.35 * max(0.0, height - 0.3))
        for angle in a.papillary_angles:
            c, s = math.cos(angle), math.sin(angle)
            along, across = c * x + s * y - place, -s * x + c * y
            muscle = np.maximum(muscle, coverage(ellipse(along, across, 1.3 * size + 0.1, size + 0.1), here.pixel))
    return muscle


def _scar(a: Anatomy, here: _Plane) -> tuple[Floats, Floats]:
    """Fractions of the wall's muscle that are scar, its dark core counted too, and that are core."""
    if a.scar is None:
        return np.zeros_like(here.cos), np.zeros_like(here.cos)
    scar, thickness = a.scar, here.epi - here.endo
    away = 1 - here.cos * math.cos(scar.angle) - here.sin * math.sin(scar.angle)
    turn = away / (1 - math.cos(scar.half_width))
    rise = ((here.height - scar.height) / scar.half_height) ** 2
    ragged = 0.15 * here.middle + 0.05 * here.fine
    depth = scar.transmurality * (np.minimum(1, 1.3 * (1 - turn - rise)) + ragged) * thickness + here.endo
    whole = coverage(depth, 2) * np.clip(1 + 0.15 * here.fine, 0.4, 1)
    if scar.core == 0:
        return whole, np.zeros_like(here.cos)
    inner = np.minimum(1, 1.3 * (1 - (turn + rise) / scar.core**2)) + ragged
    # A bright rim stays at the endocardium.
    core = np.minimum(scar.core * scar.transmurality * inner * thickness + here.endo, -1.5 - here.endo)
    return whole, coverage(core, 1.5)


def aha_segments(anatomy: Anatomy, x: Floats, y: Floats, z: float) -> NDArray[np.int16]:
    """Return the AHA segment of the left ventricle at each pixel of a plane.

    The length of the cavity is divided into three thirds. The middle of the septum, towards the right ventricle,
    separates segments 2 and 3, and segments 8 and 9. Segment 17 lies below the cavity.

    Parameters
    ----------
    anatomy : Anatomy
        The patient.
    x : ndarray of shape (nx,)
        Column centres in mm.
    y : ndarray of shape (ny,)
        Row centres in mm.
    z : float
        Height of the plane in mm.

    Returns
    -------
    ndarray of int16, shape (ny, nx)
        Numbers from 1 to 17, outside of the myocardium as well.

    References
    ----------
    M. D. Cerqueira et al., Circulation 2002; 105:539.
    """
    across, along = (x - _axis(anatomy, z)[0])[None, :], (y - _axis(anatomy, z)[1])[:, None]
    # From the middle of the septum to the inferior wall, on to the lateral and the anterior one.
    angle = np.mod(np.arctan2(along, across) - anatomy.rv_angle, 2 * math.pi)
    height = (z - anatomy.apical_wall) / (anatomy.length - anatomy.apical_wall)
    if height < 0:
        return np.full(angle.shape, 17, np.int16)
    if height < 1 / 3:
        return np.array((14, 15, 16, 13), np.int16)[np.floor(angle / (math.pi / 2) + 0.5).astype(int) % 4]
    six = np.array((3, 4, 5, 6, 1, 2), np.int16)[np.floor(angle / (math.pi / 3)).astype(int) % 6]
    return six + np.int16(6 if height < 2 / 3 else 0)


def _axis(a: Anatomy, z: float) -> tuple[np.float32, np.float32]:
    """Where the long axis passes through the plane z, (x, y) in mm."""
    height = z / a.length - 0.5
    return np.float32(a.drift[0] * height), np.float32(a.drift[1] * height)


def draw_slice(anatomy: Anatomy, x: Floats, y: Floats, z: float, pixel: float, thickness: float) -> Slice:
    """Cut one slice out of the anatomy.

    Parameters
    ----------
    anatomy : Anatomy
        The patient.
    x : ndarray of shape (nx,)
        Column centres in mm, ascending.
    y : ndarray of shape (ny,)
        Row centres in mm, ascending.
    z : float
        Height of the slice's middle in mm.
    pixel : float
        Pixel size in mm, the width over which edges are averaged.
    thickness : float
        Slice thickness in mm, over which the heart is averaged.

    Returns
    -------
    Slice
        The slice.
    """
    columns = slice(*np.searchsorted(x, (-105, 70)))
    rows = slice(*np.searchsorted(y, (-80, 80)))
    layers = Layers((len(y), len(x)))
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
    scar, segments = np.zeros_like(labels), np.zeros_like(labels)
    wall, diseased, core = inside == MYO_CODE, observed["scar"] + observed["core"], observed["core"]
    scar[rows, columns] = np.where(
        wall & (diseased > 0.5 * myo), np.where(core > 0.5 * diseased, CORE_CODE, SCAR_CODE), 0
    )
    segments[rows, columns] = np.where(wall, aha_segments(anatomy, x[columns], y[rows], z), 0)
    _paint_thorax(layers, anatomy, x, y, z, pixel)
    return Slice(layers.fractions, labels, scar, segments)


def _paint_thorax(layers: Layers, anatomy: Anatomy, x: Floats, y: Floats, z: float, pixel: float) -> None:
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
    chest = ellipse(front - (wall - depth), side, depth, width)

    back = wall - 2 * depth
    layers.paint("blood", coverage(ellipse(front - back - 42, side + 12, 11, 24), pixel))
    spine = 17 - np.abs(front - back - 12)
    disc = np.cos(side * np.float32(2 * np.pi / 36) + a.rib_phase) * 6 + 4
    layers.paint("marrow", coverage(np.minimum(spine, disc), 2 * pixel))
    layers.paint("muscle", 0.8 * coverage(spine, 2 * pixel))

    below = 3 * wide - (y + a.endo_radius + a.wall + a.diaphragm - a.diaphragm_slope * x + a.diaphragm_bend * x * x)
    below = below - np.float32(0.12 * (z - 40))
    cavity = coverage(chest, pixel)
    layers.paint("fat", coverage(1.8 + wide - np.abs(below), pixel) * cavity)
    organ = coverage(below, pixel) * cavity
    gap = x - 45 - 8 * wide_2
    layers.paint("fat", organ * coverage(3 - np.abs(gap), pixel))
    layers.paint("stomach", organ * coverage(gap, pixel) * np.clip(0.8 + 0.5 * middle, 0, 1))
    layers.paint("right blood", organ * (0.7 * np.clip((middle - 1.3) * 2, 0, 1)))
    layers.paint("liver", organ)

    # The pericardial fat pad fills the corner between heart, chest wall and diaphragm.
    pad = 7 + 0.15 * (40 - z) + 7 * wide + 1.5 * middle - chest - 0.004 * side * side
    layers.paint("fat", cavity * coverage(pad, 2) * np.clip(0.95 + 0.15 * middle, 0, 1))
    layers.paint("right blood", cavity * np.clip(middle - 1.1, 0, 1) * np.clip(fine - 0.6, 0, 0.8))
    layers.paint("lung", cavity)

    under = -chest
    along = (side + 6 * wide_2 + 2 * z) * np.float32(2 * np.pi / 30) + a.rib_phase
    ribs = 5 - np.sqrt((under - 7) ** 2 + (5 * np.cos(along) - 5) ** 2)
    layers.paint("marrow", 0.9 * coverage(ribs - 1.2, pixel))
    layers.paint("bone", coverage(ribs, pixel))
    layers.paint("fat", coverage(1.5 + wide - np.abs(under - 3), pixel) * np.clip(0.5 + middle, 0, 0.9))
    layers.paint("muscle", coverage(14 + 2 * wide + middle - under, pixel))
    skin = 14 + a.subcutaneous_fat + 3 * wide - under
    layers.paint("muscle", 0.7 * coverage(1.2 - np.abs(skin), pixel))
    layers.paint("fat", coverage(skin, pixel) * (1 - 0.35 * np.clip(middle - 0.8, 0, 1)))
