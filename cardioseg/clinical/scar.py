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
from contextlib import suppress
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
# Only voxels of a region that lie further from the wall's borders than this, and not in its outermost layer, count. The
# layer is as thick as a pixel's diagonal.
BORDER_MM = 1.5
LAYER_PIXELS = 1.42
# The maximum is this percentile of the hyper-enhanced region: that of all voxels grows with noise and the scar's size.
MAXIMUM_PERCENTILE = 95
TOUCHING = np.ones((3, 3, 3), bool)
# Two slices of a usual stack: by so much a mask may draw its wall beyond the base.
BASE_MM = 20
# In percent of the myocardium's volume: less than this is not told.
LEAST_DOUBTFUL = 1


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
    thin : ndarray of bool, shape (z, y, x)
        What is bright through the whole of a wall that is too thin for it to count as scar.
    """

    extents: tuple[Extent, ...]
    remote: Remote
    myocardium: np.ndarray
    spacing: tuple[float, float, float]
    thin: np.ndarray

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
        """Return why the extent by full width at half maximum may be noise, and what may be missing from both.

        Returns
        -------
        list of str
            The reasons; empty if there are none.
        """
        half = next(extent for extent in self.extents if extent.method == "fwhm")
        many = next(extent for extent in self.extents if extent is not half)
        told = []
        if half.threshold < many.threshold:
            told.append(
                f"half of the maximum, {half.threshold:.4g}, lies below {many.method.removesuffix('sd')} standard "
                f"deviations above remote myocardium, {many.threshold:.4g}: noise may count as scar"
            )
        if self.thin.any():
            where = slices_in_words(self.thin)
            told.append(
                f"{self.grams(self.thin):.1f} g in {where} are bright from the cavity to the outside of a thin wall "
                "and do not count: they may be scar, or blood that the mask takes for wall"
            )
        return told


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
    is kept if its part within the wall, more than `BORDER_MM` and a pixel's diagonal from its borders, is as large as
    the settings ask: noise is small, and blood or fat at a contour is thin. Dark cores that scar, or scar and cavity,
    enclose in a slice are scar as well, unless they are larger than what is bright in it; what the cavity encloses by
    itself, such as a papillary muscle, is none. Where a dark core was taken for remote myocardium, its slices are left
    out in the search for that, and all is measured again.

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
    smallest = settings["smallest_ml"] * 1000 / float(np.prod(spacing))
    border_mm = max(BORDER_MM, LAYER_PIXELS * max(spacing[1:]))
    count = settings["standard_deviations"]
    remote = find_remote(intensities, wall)
    extents = _extents(intensities, wall, remote, count, border_mm, smallest)
    mistaken = (remote.mask & np.any([extent.dark_cores for extent in extents], axis=0)).any(axis=(1, 2))
    if mistaken.any():
        with suppress(InputError):  # no other slice has remote myocardium
            other = find_remote(intensities, wall, mistaken)
            remote, extents = other, _extents(intensities, wall, other, count, border_mm, smallest)

    def whole(mask: np.ndarray) -> np.ndarray:
        placed = np.zeros(labels.shape, bool)
        placed[box] = mask
        return placed

    chosen_first = extents if settings["method"] == "fwhm" else extents[::-1]
    found = np.any([extent.scar for extent in extents], axis=0)
    return Scar(
        extents=tuple(
            Extent(extent.method, extent.threshold, whole(extent.scar), whole(extent.dark_cores))
            for extent in chosen_first
        ),
        remote=Remote(whole(remote.mask), remote.mean, remote.deviation),
        myocardium=labels == myocardium,
        spacing=spacing,
        thin=whole(_through_thin_wall(intensities > extents[1].threshold, found, wall)),
    )


def _extents(
    image: np.ndarray, wall: Ring, remote: Remote, count: float, border_mm: float, smallest: float
) -> tuple[Extent, Extent]:
    """Find the scar by full width at half maximum and by `count` standard deviations above remote myocardium."""
    if remote.deviation == 0:
        raise InputError(
            f"every voxel of the remote myocardium is {remote.mean:g}: the image's intensities are clipped"
        )
    threshold, halfway = remote.mean + count * remote.deviation, float("nan")
    enhanced = _above(image, threshold, wall, border_mm, smallest)
    if enhanced.any():
        halfway = (remote.mean + float(np.percentile(image[enhanced], MAXIMUM_PERCENTILE))) / 2
    half = _above(image, halfway, wall, border_mm, smallest)
    return (
        Extent("fwhm", halfway, *_with_cores(half, wall, smallest)),
        Extent(f"{count:g}sd", threshold, *_with_cores(enhanced, wall, smallest)),
    )


def slices_in_words(mask: np.ndarray, before: int = 0) -> str:
    """Name the slices of a mask that is not empty, as a user counts them.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
        The mask.
    before : int
        How many slices the stack has before those of the mask.

    Returns
    -------
    str
        For instance "slice 3" or "slices 3 to 7".
    """
    slices = 1 + before + np.flatnonzero(mask.any(axis=(1, 2)))
    return f"slice {slices[0]}" if len(slices) == 1 else f"slices {slices[0]} to {slices[-1]}"


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
        Their voxels; none if they are less than `LEAST_DOUBTFUL` percent of the myocardium.
    """
    basal = basal_slices(wall, int(BASE_MM / spacing[0] + 0.01))  # spacings have rounding errors
    regions, _ = ndimage.label(scar, TOUCHING)
    beyond = np.delete(regions, basal, axis=0)
    confined: np.ndarray = scar & ~np.isin(regions, beyond[beyond > 0])
    few = 100 * np.count_nonzero(confined) < LEAST_DOUBTFUL * np.count_nonzero(wall.myocardium)
    return np.zeros_like(confined) if few else confined


def find_remote(image: np.ndarray, wall: Ring, without: np.ndarray | None = None) -> Remote:
    """Find remote myocardium: the darkest sector of the wall in each slice, unless this sector is bright as well.

    Parameters
    ----------
    image : ndarray of shape (z, y, x)
        Intensities.
    wall : Ring
        The myocardium in polar coordinates.
    without : ndarray of bool, shape (z,), optional
        Slices to leave out.

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
    for z in range(len(image)) if without is None else np.flatnonzero(~without):
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
    """Return the bright voxels with all that they, or they and the cavity, enclose, and its cores of enough voxels.

    What is larger than all bright voxels of its slice is no core but healthy muscle, behind a rim of fat or blood.
    """
    scar = bright.copy()
    for z in np.flatnonzero(bright.any(axis=(1, 2))):
        enclosed = ndimage.binary_fill_holes(bright[z] | wall.cavity[z]) & ~ndimage.binary_fill_holes(wall.cavity[z])
        holes, count = ndimage.label(enclosed & wall.myocardium[z] & ~bright[z])
        small = np.bincount(holes.ravel(), minlength=count + 1) <= np.count_nonzero(bright[z])
        small[0] = False
        scar[z] |= small[holes]
    cores, count = ndimage.label(scar & ~bright, TOUCHING)
    large = np.bincount(cores.ravel(), minlength=count + 1) >= smallest
    large[0] = False
    return scar, large[cores]


def _through_thin_wall(bright: np.ndarray, scar: np.ndarray, wall: Ring) -> np.ndarray:
    """Return the bright regions that reach through the wall and are no scar; none of less than `LEAST_DOUBTFUL`."""
    regions, count = ndimage.label(wall.myocardium & bright, TOUCHING)
    sizes, inner, outer = (
        np.bincount(regions[part], minlength=count + 1)
        for part in (wall.myocardium, wall.myocardium & (wall.depth < 0.5), wall.myocardium & (wall.depth > 0.5))
    )
    large = 100 * sizes >= LEAST_DOUBTFUL * np.count_nonzero(wall.myocardium)
    through = large & (np.minimum(inner, outer) >= sizes / 4)
    through[0] = False
    through[np.unique(regions[scar])] = False
    return through[regions]
