"""The 17 segments of the left ventricle's wall, by the standard of the American Heart Association.

A mask and the directions in its header say which segment a voxel of the myocardium lies in: the right ventricle lies at
the septum, and which of its two ends is the anterior one follows from the way to the base. Anatomy has one handedness,
so it does not matter how an image is stored, as long as its header says so.

References
----------
Cerqueira et al., Circulation 2002;105:539-542.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from cardioseg.clinical.ring import FEWEST_SLICES, Ring, from_base, ring, ring_box, widest_gap
from cardioseg.core.errors import InputError
from cardioseg.core.volumes import NO_GEOMETRY, Volume
from cardioseg.evaluation.clinical import MYOCARDIAL_DENSITY

NAMES = (
    *("basal anterior", "basal anteroseptal", "basal inferoseptal"),
    *("basal inferior", "basal inferolateral", "basal anterolateral"),
    *("mid anterior", "mid anteroseptal", "mid inferoseptal"),
    *("mid inferior", "mid inferolateral", "mid anterolateral"),
    *("apical anterior", "apical septal", "apical inferior", "apical lateral"),
    "apex",
)
APEX = 17
# By the angle from the middle of the septum towards the anterior wall, in steps of 60 degrees from -180.
SIXTHS = (5, 4, 3, 2, 1, 6)
# In steps of 90 degrees from -225, so that the septum is a step of its own.
QUARTERS = (16, 15, 14, 13)
# The right ventricle's cavity lies on the septum; its mask may keep this distance.
SEPTUM_MM = 3
LEAST_SEPTUM_DEGREES = 30
# Wall thickness and transmurality are measured along the radii of narrow sectors. Near the centre, where these may pass
# between the voxels, they are wide.
NARROW_DEGREES = 5
WIDE_DEGREES = 15


class Segments(NamedTuple):
    """Segments of a mask.

    Attributes
    ----------
    numbers : ndarray of uint8, shape (z, y, x)
        Numbers of the segments, 0 elsewhere.
    angle : ndarray
        Angle of each voxel in radians, in the box: 0 in the middle of the septum, growing towards the anterior wall.
    wall : Ring
        The myocardium in polar coordinates, in the box.
    box : tuple of slice
        The part of the volume that holds cavity and wall.
    """

    numbers: np.ndarray
    angle: np.ndarray
    wall: Ring
    box: tuple[slice, ...]


def divide(mask: Volume, cavity: int, myocardium: int, right_ventricle: int) -> Segments:
    """Divide the myocardium of a mask into the 17 segments.

    The slices that show cavity and myocardium are divided into basal, mid and apical thirds along the stack. Slices
    beyond them at the apical end are the apex, segment 17. The middle of the septum, the same in all slices, lies
    midway between the two insertions of the right ventricle. The apical end is the end where the ventricle is smaller.

    Parameters
    ----------
    mask : Volume
        Labels (z, y, x), slices perpendicular to the long axis, with the affine from index (x, y, z) to mm (right,
        anterior, superior).
    cavity, myocardium, right_ventricle : int
        The labels of the structures.

    Returns
    -------
    Segments
        The segment of each voxel.

    Raises
    ------
    InputError
        The header has no directions or contradicts anatomy, the stack has too few slices with cavity and myocardium, or
        the right ventricle does not lie along the septum.
    """
    labels, spacing = mask.array, mask.spacing
    box = ring_box(labels, cavity, myocardium)
    wall = ring(labels[box], spacing, cavity, myocardium)
    slices = from_base(wall)
    if len(slices) < FEWEST_SLICES:
        raise InputError(
            f"{len(slices)} slices show cavity and myocardium; base, middle and apex need {FEWEST_SLICES} or more"
        )
    basal_and_mid = slices[: -(-2 * len(slices) // 3)]
    septum = _septum(labels, box, wall, spacing, right_ventricle, basal_and_mid)
    upwards = bool(slices[0] > slices[-1])
    angle = np.angle(np.exp(1j * (wall.angle - septum))) * _turn_to_anterior(mask, septum, upwards)
    degrees = np.degrees(angle)
    sixth = np.array(SIXTHS)[np.floor(degrees / 60).astype(int) % 6 - 3]
    quarter = np.array(QUARTERS)[np.floor((degrees + 225) / 90).astype(int) % 4]
    numbers = np.zeros(labels.shape, np.uint8)
    for z in np.flatnonzero(wall.myocardium.any(axis=(1, 2))):
        if z > slices[-1] if not upwards else z < slices[-1]:
            own: np.ndarray | int = APEX
        else:
            level = 3 * int(np.abs(slices - z).argmin()) // len(slices)
            own = (sixth[z], 6 + sixth[z], quarter[z])[level]
        numbers[box][z] = np.where(wall.myocardium[z], own, 0)
    return Segments(numbers, angle, wall, box)


def sector(number: int) -> tuple[int, int]:
    """Return where a segment begins and ends around the cavity.

    Parameters
    ----------
    number : int
        The segment's number, from 1 to 17.

    Returns
    -------
    start : int
        Where it begins, in degrees from the middle of the septum towards the anterior wall.
    end : int
        Where it ends, likewise.
    """
    if number == APEX:
        return -180, 180
    if number in QUARTERS:
        start = -225 + 90 * QUARTERS.index(number)
        return start, start + 90
    start = -180 + 60 * SIXTHS.index(1 + (number - 1) % 6)
    return start, start + 60


def measure(
    segments: Segments, image: np.ndarray, spacing: tuple[float, float, float], scar: np.ndarray | None
) -> list[dict[str, str | int | float]]:
    """Measure each of the 17 segments.

    Wall thickness is the length of the wall along the radius. Transmurality is the share of scar in it where there is
    scar, and 0 if there is none. Both are medians over sectors that are narrow, but not narrower than the voxels; a
    sector at the edge of a scar or of a gap may be filled only in part. The apex has neither.

    Parameters
    ----------
    segments : Segments
        See `divide`.
    image : ndarray
        Intensities (z, y, x).
    spacing : tuple of float
        Voxel size in mm, (z, y, x).
    scar : ndarray of bool or None
        (z, y, x); None where it was not measured.

    Returns
    -------
    list of dict
        One row per segment: `segment`, `name`, `mass_g`, `thickness_mm`, `mean_intensity`, `scar_mass_g`,
        `scar_percent`, `transmurality_percent`, and a `note` that says why values are NaN.
    """
    numbers, image = segments.numbers[segments.box], image[segments.box]
    inside = scar[segments.box] if scar is not None else None
    voxel_g = MYOCARDIAL_DENSITY * float(np.prod(spacing)) / 1000
    return [
        {
            "segment": number,
            "name": name,
            **_row(number, numbers == number, segments, image, spacing, inside, voxel_g),
        }
        for number, name in enumerate(NAMES, start=1)
    ]


def unavailable(reason: str) -> list[dict[str, str | int | float]]:
    """Make the rows of `measure` for a mask without segments.

    Parameters
    ----------
    reason : str
        Why there are none; every row has it as its note.

    Returns
    -------
    list of dict
        One row per segment, whose values are NaN.
    """
    return [{"segment": number, "name": name, **_nothing(reason)} for number, name in enumerate(NAMES, start=1)]


def _nothing(note: str) -> dict[str, str | int | float]:
    values = ("mass_g", "thickness_mm", "mean_intensity", "scar_mass_g", "scar_percent", "transmurality_percent")
    return {**dict.fromkeys(values, float("nan")), "note": note}


def _row(
    number: int,
    voxels: np.ndarray,
    segments: Segments,
    image: np.ndarray,
    spacing: tuple[float, float, float],
    scar: np.ndarray | None,
    voxel_g: float,
) -> dict[str, str | int | float]:
    count = np.count_nonzero(voxels)
    if not count:
        beyond = "no slice shows myocardium beyond the cavity's apical end"
        return _nothing(beyond if number == APEX else "the mask has no myocardium here")
    row = _nothing("")
    row |= {"mass_g": float(count * voxel_g), "mean_intensity": float(image[voxels].mean(dtype=np.float64))}
    nearest = segments.wall.radius[voxels].min()
    degrees = NARROW_DEGREES if np.radians(NARROW_DEGREES) * nearest >= max(spacing[1:]) else WIDE_DEGREES
    lengths = _lengths(voxels, segments, spacing, degrees) if number != APEX else np.array([])
    if len(lengths):
        row["thickness_mm"] = float(np.median(lengths[lengths > 0]))
    if scar is not None:
        found = voxels & scar
        row["scar_mass_g"] = float(np.count_nonzero(found) * voxel_g)
        row["scar_percent"] = float(100 * np.count_nonzero(found) / count)
        if len(lengths):
            scarred = _lengths(found, segments, spacing, degrees)
            shares = scarred[scarred > 0] / lengths[scarred > 0]
            row["transmurality_percent"] = float(100 * np.median(shares)) if len(shares) else 0.0
    return row


def _lengths(voxels: np.ndarray, segments: Segments, spacing: tuple[float, float, float], degrees: int) -> np.ndarray:
    """Return the length in mm that voxels cover along the radius, for each slice and sector of so many degrees.

    A sector of width w and length l at the radius r has the area w r l, so that l is the sum of area / (w r).
    """
    height, width = spacing[1:]
    z = np.nonzero(voxels)[0]
    sectors = 360 // degrees
    sector = np.floor((np.degrees(segments.angle[voxels]) + 180) / degrees).astype(int) % sectors
    radius = np.maximum(segments.wall.radius[voxels], max(height, width))
    parts = height * width / (np.radians(degrees) * radius)
    return np.bincount(z * sectors + sector, parts, minlength=len(voxels) * sectors)


def _septum(
    labels: np.ndarray,
    box: tuple[slice, ...],
    wall: Ring,
    spacing: tuple[float, float, float],
    right_ventricle: int,
    slices: Sequence[int] | np.ndarray,
) -> float:
    """Return the angle of the septum's middle, midway between the two ends of the wall at the right ventricle."""
    reach = max(SEPTUM_MM, 1.01 * max(spacing[1:]))  # at least the next pixel
    steps = [int(np.ceil(reach / size)) for size in spacing[1:]]
    before = [min(step, side.start or 0) for step, side in zip(steps, box[1:], strict=True)]
    rows, columns = (
        slice((side.start or 0) - back, (side.stop or length) + step)
        for side, back, step, length in zip(box[1:], before, steps, labels.shape[1:], strict=True)
    )
    middles = []
    for z in slices:
        right = labels[box[0]][z, rows, columns] == right_ventricle
        if not right.any():
            continue
        near = ndimage.distance_transform_edt(~right, sampling=spacing[1:]) <= reach
        near = near[before[0] :, before[1] :][: wall.angle.shape[1], : wall.angle.shape[2]]
        angles = wall.angle[z][wall.myocardium[z] & near]
        if not len(angles):
            continue
        # The septum is what the widest gap leaves.
        start, gap = widest_gap(angles)
        width = 2 * np.pi - gap
        if width >= np.radians(LEAST_SEPTUM_DEGREES):
            middles.append(start + gap + width / 2)
    if not middles:
        raise InputError("the right ventricle does not lie along the myocardium in the basal and mid slices")
    return float(np.angle(np.exp(1j * np.array(middles)).mean()))


def _turn_to_anterior(mask: Volume, septum: float, upwards: bool) -> int:
    """Return 1 if the anterior wall lies at greater angles than the septum, -1 if it lies at smaller ones.

    upwards: whether slices with greater indices lie nearer to the base.
    """
    if NO_GEOMETRY in mask.notes:
        raise InputError("the image's header does not say how the slices lie in the patient")
    x, y, z = (mask.affine[:3, :3] / np.linalg.norm(mask.affine[:3, :3], axis=0)).T
    to_septum = np.cos(septum) * x + np.sin(septum) * y
    # Seen from the apex the septum lies at the left where the anterior wall is at the top.
    anterior = np.cross(z if upwards else -z, to_septum)
    if anterior[2] <= 0:
        raise InputError(
            "by the image's header the anterior wall would face the feet; its directions, or the mask, are wrong"
        )
    return 1 if anterior @ (np.cos(septum) * y - np.sin(septum) * x) > 0 else -1
