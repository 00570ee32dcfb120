"""Polar coordinates about the cavity: the myocardium of a short-axis slice is a ring."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cardioseg.core.errors import InputError

# A wall that is missing over this angle leaves its cavity open.
OPEN_DEGREES = 30
FEWEST_SLICES = 3


@dataclass(frozen=True)
class Ring:
    """The myocardium of a stack and where each of its voxels lies. All arrays are (z, y, x).

    Attributes
    ----------
    cavity, myocardium : ndarray of bool
        The masks.
    angle : ndarray
        Direction of a voxel from the centre of its slice's cavity, in radians: 0 along the columns' index x, pi / 2
        along the rows' index y, measured in mm.
    radius : ndarray
        Distance from that centre in mm.
    border_mm : ndarray
        In-plane distance of a voxel of the myocardium from the nearest voxel of its slice that is none; 0 elsewhere.
    depth : ndarray
        Where in the wall a voxel lies, from 0 at the cavity to 1 at the outside; NaN where the slice has no cavity.
    """

    cavity: np.ndarray
    myocardium: np.ndarray
    angle: np.ndarray
    radius: np.ndarray
    border_mm: np.ndarray
    depth: np.ndarray


def ring(labels: np.ndarray, spacing: tuple[float, float, float], cavity: int, myocardium: int) -> Ring:
    """Lay polar coordinates over the myocardium of a mask.

    Parameters
    ----------
    labels : ndarray of int
        (z, y, x), slices perpendicular to the long axis.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).
    cavity, myocardium : int
        Labels of the left ventricle's cavity and of its wall.

    Returns
    -------
    Ring
        The myocardium in polar coordinates.

    Raises
    ------
    InputError
        The mask holds no myocardium, or is no volume.
    """
    if labels.ndim != 3:
        raise InputError(f"expected a mask (z, y, x), not one of shape {labels.shape}")
    inside, wall = labels == cavity, labels == myocardium
    if not wall.any():
        raise InputError("the mask holds no myocardium")
    angle, radius, border = (np.zeros(labels.shape) for _ in range(3))
    depth = np.full(labels.shape, np.nan)
    height, width = spacing[1:]
    y, x = np.indices(labels.shape[1:])
    for z in np.flatnonzero(wall.any(axis=(1, 2))):
        heart = inside[z] | wall[z]
        rows, columns = np.nonzero(inside[z] if inside[z].any() else heart)
        up, along = (y - rows.mean()) * height, (x - columns.mean()) * width
        angle[z], radius[z] = np.arctan2(up, along), np.hypot(up, along)
        border[z] = _distance(wall[z], (height, width))
        if inside[z].any():
            # Beyond the image there is no cavity.
            from_cavity = ndimage.distance_transform_edt(~inside[z], sampling=(height, width))
            from_outside = _distance(heart, (height, width))
            total = from_cavity + from_outside
            depth[z] = np.divide(from_cavity, total, out=np.zeros_like(total), where=total > 0)
    return Ring(inside, wall, angle, radius, border, depth)


def from_base(wall: Ring) -> np.ndarray:
    """Find the slices that show cavity and wall.

    Parameters
    ----------
    wall : Ring
        The myocardium in polar coordinates.

    Returns
    -------
    ndarray of int, shape (n,)
        Their indices from the base, where the ventricle is larger, to the apex.
    """
    slices = np.flatnonzero(wall.cavity.any(axis=(1, 2)) & wall.myocardium.any(axis=(1, 2)))
    areas = np.count_nonzero(wall.cavity | wall.myocardium, axis=(1, 2))[slices]
    third = max(1, len(slices) // 3)
    return slices if areas[:third].sum() >= areas[-third:].sum() else slices[::-1]


def basal_slices(wall: Ring, count: int) -> np.ndarray:
    """Find the slices at the basal end of the wall, whether they show a cavity or not.

    Parameters
    ----------
    wall : Ring
        The myocardium in polar coordinates.
    count : int
        How many are asked for.

    Returns
    -------
    ndarray of int, shape (n,)
        Their indices, from the base on; at most a third of the wall's slices, and none where no slice shows both cavity
        and wall.
    """
    both, slices = from_base(wall), np.flatnonzero(wall.myocardium.any(axis=(1, 2)))
    if not len(both):
        return both
    return (slices[::-1] if both[0] > both[-1] else slices)[: min(count, len(slices) // 3)]


def widest_gap(angles: np.ndarray) -> tuple[float, float]:
    """Find the widest gap between directions.

    Parameters
    ----------
    angles : ndarray of shape (n,)
        The directions in radians.

    Returns
    -------
    start : float
        Where the gap begins, in radians.
    width : float
        Its width in radians.
    """
    ordered = np.sort(angles)
    gaps = np.diff(ordered, append=ordered[0] + 2 * np.pi)
    widest = int(gaps.argmax())
    return float(ordered[widest]), float(gaps[widest])


def open_slices(wall: Ring) -> np.ndarray:
    """Find the slices whose wall leaves the cavity open over `OPEN_DEGREES` or more.

    The basal third does not count, where the outflow tract is open, and neither does the last slice of the cavity,
    whose tip the wall may meet aslant. A stack of fewer than `FEWEST_SLICES` slices with a cavity has none between.

    Parameters
    ----------
    wall : Ring
        The myocardium in polar coordinates.

    Returns
    -------
    ndarray of int, shape (n,)
        The indices of the slices.
    """
    slices = from_base(wall)
    between = slices[len(slices) // 3 : -1] if len(slices) >= FEWEST_SLICES else slices[:0]
    gaps = [widest_gap(wall.angle[z][wall.myocardium[z]])[1] for z in between]
    return between[np.array(gaps) >= np.radians(OPEN_DEGREES)] if gaps else between


def ring_box(labels: np.ndarray, cavity: int, myocardium: int) -> tuple[slice, ...]:
    """Find the box around the cavity and its wall.

    Parameters
    ----------
    labels : ndarray of int, shape (z, y, x)
        The mask.
    cavity, myocardium : int
        Labels of the left ventricle's cavity and of its wall.

    Returns
    -------
    tuple of slice
        The box along each axis; the whole volume if the mask has neither.
    """
    found = ndimage.find_objects(((labels == cavity) | (labels == myocardium)).view(np.uint8))
    return found[0] if found else (slice(None),) * labels.ndim


def _distance(mask: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Return the distance in mm from each pixel of a mask to the nearest one outside; beyond the image is outside."""
    distance: np.ndarray = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1]
    return distance
