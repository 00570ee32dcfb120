"""Scar in late-enhancement images, by full width at half maximum and by standard deviations above remote myocardium.

Both thresholds are set between measured intensities of the same stack, so that neither the scale nor the offset of an
image matters: magnitude images and phase-sensitive ones, which may be negative, are treated alike.

References
----------
Amado et al., J Am Coll Cardiol 2004;44:2383-2389 (full width at half maximum); Kim et al., Circulation
1999;100:1992-2002 (standard deviations above remote myocardium); Heiberg et al., Radiology 2008;246:581-588 (automatic
quantification, and hypo-enhanced cores within); Flett et al., JACC Cardiovasc Imaging 2011;4:150-156 (comparison of the
thresholds).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from cardioseg.clinical.ring import Ring, basal_slices, ring, ring_box
from cardioseg.core.errors import InputError
from cardioseg.evaluation.clinical import MYOCARDIAL_DENSITY

# Values of a mask of scar, by what they stand for.
CODES = {"scar": 1, "dark_core": 2, "remote": 3}
# Remote myocardium is sought in sectors of this width, and within this part of the wall: next to its borders a voxel
# holds blood or fat as well.
SECTOR_DEGREES = 60
MIDDLE_WALL = (0.25, 0.75)
DIRECTIONS = 36
FEWEST_VOXELS = 10
# A sector is not remote myocardium if it is brighter than those of the other slices by more than this many of their
# standard deviations, estimated by the median absolute deviation. A slice may be scar all round.
OUTLIER = 3
# Only voxels of a region that lie further from the wall's borders than this, and not in its outermost layer, count.
BORDER_MM = 1.5
# The maximum is this percentile of the hyper-enhanced region: that of all voxels grows with noise and the scar's size.
MAXIMUM_PERCENTILE = 95
TOUCHING = np.ones((3, 3, 3), bool)
# Two slices of a usual stack: by so much a mask may draw its wall beyond the base.
BASE_MM = 20
# In percent of the myocardium's volume.
LEAST_AT_BASE = 1


@dataclass(frozen=True)
class Remote:
    """Remote myocardium.

    Attributes
    ----------
    mask : ndarray of bool, shape (z, y, x)
        Its voxels.
    mean, deviation : float
        Mean and standard deviation of their intensities.
    """

    mask: np.ndarray
    mean: float
    deviation: float


@dataclass(frozen=True)
class Extent:
    """The scar by one threshold.

    Attributes
    ----------
    method : str
        `fwhm`, or `5sd` and the like.
    threshold : float
        In the image's own intensities; NaN where no region is hyper-enhanced and there is no maximum to halve.
    scar : ndarray of bool
        (z, y, x), with the dark cores.
    dark_cores : ndarray of bool
        (z, y, x), myocardium below the threshold that scar encloses: microvascular obstruction where it is acute.
    """

    method: str
    threshold: float
    scar: np.ndarray
    dark_cores: np.ndarray


@dataclass(frozen=True)
class Scar:
    """The scar of a stack.

    Attributes
    ----------
    extents : tuple of Extent
        The scar by every method, first by the method of the settings.
    remote : Remote
        The remote myocardium.
    myocardium : ndarray of bool, shape (z, y, x)
        The whole myocardium of the mask.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).
    """

    extents: tuple[Extent, ...]
    remote: Remote
    myocardium: np.ndarray
    spacing: tuple[float, float, float]

    @property
    def chosen(self) -> Extent:
        """The extent by the method of the settings."""
        return self.extents[0]

    @property
    def labels(self) -> np.ndarray:
        """The mask of the chosen extent, (z, y, x; uint8), in the values of `CODES`."""
        marked = np.zeros(self.myocardium.shape, np.uint8)
        marked[self.remote.mask] = CODES["remote"]
        marked[self.chosen.scar] = CODES["scar"]
        marked[self.chosen.dark_cores] = CODES["dark_core"]
        return marked

    def quantities(self) -> dict[str, str | int | float]:
        """Return the numbers of the scar by name.

        Returns
        -------
        dict
            `scar_method`, `remote_mean`, `remote_sd` and `scar_slices`, the number of slices with scar. For each method
            M also `scar_M_threshold`, `scar_M_mass_g` and `scar_M_percent` (of the mass of the myocardium), both with
            dark cores, and `dark_core_M_ml`.
        """
        found: dict[str, str | int | float] = {
            "scar_method": self.chosen.method,
            "remote_mean": self.remote.mean,
            "remote_sd": self.remote.deviation,
        }
        for extent in self.extents:
            voxels = np.count_nonzero(extent.scar)
            found[f"scar_{extent.method}_threshold"] = extent.threshold
            found[f"scar_{extent.method}_mass_g"] = self.grams(extent.scar)
            found[f"scar_{extent.method}_percent"] = float(100 * voxels / np.count_nonzero(self.myocardium))
            found[f"dark_core_{extent.method}_ml"] = self.grams(extent.dark_cores) / MYOCARDIAL_DENSITY
        found["scar_slices"] = int(self.chosen.scar.any(axis=(1, 2)).sum())
        return found

    def grams(self, mask: np.ndarray) -> float:
        """Return the mass of a part of the myocardium.

        Parameters
        ----------
        mask : ndarray of bool
            Its voxels.

        Returns
        -------
        float
            The mass in g.
        """
        return MYOCARDIAL_DENSITY * np.count_nonzero(mask) * float(np.prod(self.spacing)) / 1000

    def warnings(self) -> list[str]:
        """Return why the extent by full width at half maximum may be noise.

        Returns
        -------
        list of str
            The reasons; empty if there are none.
        """
        half = next(extent for extent in self.extents if extent.method == "fwhm")
        many = next(extent for extent in self.extents if extent is not half)
        if half.threshold < many.threshold:
            return [
                f"half of the maximum, {half.threshold:.4g}, lies below {many.method.removesuffix('sd')} standard "
                f"deviations above remote myocardium, {many.threshold:.4g}: noise may count as scar"
            ]
        return []


def measure(
    image: np.ndarray,
    labels: np.ndarray,
    spacing: tuple[float, float, float],
    cavity: int,
    myocardium: int,
    settings: Mapping[str, Any],
) -> Scar:
    """Find the scar within the myocardium of a mask.

    A voxel is hyper-enhanced where it is brighter than the mean of remote myocardium by more than n standard
    deviations. The threshold by full width at half maximum lies halfway between that mean and the maximum of the
    hyper-enhanced region; where the remote myocardium is nulled this is half of the maximum. A region above a threshold
    is kept if its part within the wall, more than `BORDER_MM` and a pixel from its borders, is as large as the settings
    ask: noise is small, and blood or fat at a contour is thin. Dark cores that scar, or scar and cavity, enclose in a
    slice are scar as well; what the cavity encloses by itself, such as a papillary muscle, is none.

    Parameters
    ----------
    image : ndarray
        Intensities (z, y, x), as they were stored.
    labels : ndarray of int
        The mask, of the image's shape.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).
    cavity, myocardium : int
        Labels of the left ventricle's cavity and of its wall.
    settings : mapping
        `method` (`fwhm` or `sd`: which extent counts), `standard_deviations`, `smallest_ml`.

    Returns
    -------
    Scar
        The scar by both thresholds.

    Raises
    ------
    InputError
        Image and mask do not fit, the mask has no myocardium, the myocardium or its remote part is constant, or no
        remote part is found.
    """
    if image.shape != labels.shape:
        raise InputError(f"the image's shape {image.shape} (z, y, x) is not that of its mask, {labels.shape}")
    box = ring_box(labels, cavity, myocardium)
    wall = ring(labels[box], spacing, cavity, myocardium)
    intensities = image[box].astype(np.float64)
    within = intensities[wall.myocardium]
    if not np.isfinite(within).all():
        raise InputError("the myocardium holds intensities that are not finite")
    if within.min() == within.max():
        raise InputError(f"every voxel of the myocardium is {within[0]:g}")
    remote = find_remote(intensities, wall)
    if remote.deviation == 0:
        raise InputError(
            f"every voxel of the remote myocardium is {remote.mean:g}: the image's intensities are clipped"
        )
    smallest = settings["smallest_ml"] * 1000 / float(np.prod(spacing))
    count = settings["standard_deviations"]
    threshold = remote.mean + count * remote.deviation
    border_mm = max(BORDER_MM, 1.001 * max(spacing[1:]))  # spacings have rounding errors
    enhanced = _above(intensities, threshold, wall, border_mm, smallest)
    halfway = float("nan")
    if enhanced.any():
        halfway = (remote.mean + float(np.percentile(intensities[enhanced], MAXIMUM_PERCENTILE))) / 2

    def whole(mask: np.ndarray) -> np.ndarray:
        placed = np.zeros(labels.shape, bool)
        placed[box] = mask
        return placed

    def extent(method: str, threshold: float, bright: np.ndarray) -> Extent:
        scar, cores = _with_cores(bright, wall, smallest)
        return Extent(method, threshold, whole(scar), whole(cores))

    extents = [
        extent("fwhm", halfway, _above(intensities, halfway, wall, border_mm, smallest)),
        extent(f"{count:g}sd", threshold, enhanced),
    ]
    return Scar(
        extents=tuple(extents if settings["method"] == "fwhm" else extents[::-1]),
        remote=Remote(whole(remote.mask), remote.mean, remote.deviation),
        myocardium=labels == myocardium,
        spacing=spacing,
    )


def confined_to_base(scar: np.ndarray, wall: Ring, spacing: tuple[float, float, float]) -> np.ndarray:
    """Find scar that may be blood: the regions that lie within `BASE_MM` of the basal end of the wall.

    Above the base a mask may draw wall through blood. What is bright there ends where the true wall begins, whereas an
    infarct rarely is so short.

    Parameters
    ----------
    scar : ndarray of bool, shape (z, y, x)
        The scar.
    wall : Ring
        The myocardium in polar coordinates.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).

    Returns
    -------
    ndarray of bool, shape (z, y, x)
        Their voxels; none if they are less than `LEAST_AT_BASE` percent of the myocardium.
    """
    basal = basal_slices(wall, int(BASE_MM / spacing[0] + 0.01))  # spacings have rounding errors
    regions, _ = ndimage.label(scar, TOUCHING)
    beyond = np.delete(regions, basal, axis=0)
    confined: np.ndarray = scar & ~np.isin(regions, beyond[beyond > 0])
    few = 100 * np.count_nonzero(confined) < LEAST_AT_BASE * np.count_nonzero(wall.myocardium)
    return np.zeros_like(confined) if few else confined


def find_remote(image: np.ndarray, wall: Ring) -> Remote:
    """Find remote myocardium: the darkest sector of the wall in each slice, unless this sector is bright as well.

    Parameters
    ----------
    image : ndarray of shape (z, y, x)
        Intensities.
    wall : Ring
        The myocardium in polar coordinates.

    Returns
    -------
    Remote
        The remote myocardium.

    Raises
    ------
    InputError
        No slice has a sector with `FEWEST_VOXELS` voxels away from the wall's borders.
    """
    with np.errstate(invalid="ignore"):
        inner = wall.myocardium & (wall.depth > MIDDLE_WALL[0]) & (wall.depth < MIDDLE_WALL[1])
    sectors = {}
    for z in range(len(image)):
        sector = _darkest_sector(image[z], inner[z], wall.angle[z])
        if sector is not None:
            sectors[z] = sector
    if not sectors:
        raise InputError("no slice has a wall around its cavity that is thick enough to find remote myocardium in it")
    means = {z: float(image[z][sector].mean()) for z, sector in sectors.items()}
    middle = np.median(list(means.values()))
    spread = 1.4826 * np.median(np.abs(np.array(list(means.values())) - middle))
    mask = np.zeros(image.shape, bool)
    for z, sector in sectors.items():
        if means[z] <= middle + OUTLIER * spread:
            mask[z] = sector
    return Remote(mask, float(image[mask].mean()), float(image[mask].std()))


def _darkest_sector(image: np.ndarray, inner: np.ndarray, angle: np.ndarray) -> np.ndarray | None:
    """Return the voxels of the sector of a slice that is darkest on average; None if all have too few."""
    values, directions = image[inner], angle[inner]
    found, darkest = None, np.inf
    for start in np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False):
        sector = (directions - start) % (2 * np.pi) < np.radians(SECTOR_DEGREES)
        if np.count_nonzero(sector) >= FEWEST_VOXELS and values[sector].mean() < darkest:
            found, darkest = sector, values[sector].mean()
    if found is None:
        return None
    mask = np.zeros(image.shape, bool)
    mask[inner] = found
    return mask


def _above(image: np.ndarray, threshold: float, wall: Ring, border_mm: float, smallest: float) -> np.ndarray:
    """Return the regions of the wall above a threshold that have `smallest` voxels or more away from its borders."""
    regions, count = ndimage.label(wall.myocardium & (image > threshold), TOUCHING)
    sizes = np.bincount(regions[wall.border_mm > border_mm], minlength=count + 1)
    kept = (sizes >= smallest) & (sizes > 0)
    kept[0] = False
    return kept[regions]


def _with_cores(bright: np.ndarray, wall: Ring, smallest: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the bright voxels with all that they, or they and the cavity, enclose, and its cores of enough voxels."""
    scar = np.zeros_like(bright)
    for z in np.flatnonzero(bright.any(axis=(1, 2))):
        enclosed = ndimage.binary_fill_holes(bright[z] | wall.cavity[z]) & ~ndimage.binary_fill_holes(wall.cavity[z])
        scar[z] = bright[z] | (enclosed & wall.myocardium[z])
    cores, count = ndimage.label(scar & ~bright, TOUCHING)
    large = np.bincount(cores.ravel(), minlength=count + 1) >= smallest
    large[0] = False
    return scar, large[cores]
