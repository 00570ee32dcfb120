"""What a clinician reads off a segmentation: volumes, and mass and thickness of the myocardium."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import check_spacing

# In g/ml, from the guidelines: Schulz-Menger et al., J Cardiovasc Magn Reson 2020;22:19.
MYOCARDIAL_DENSITY = 1.05
MANUAL = "manual"
MASK = ["split", "patient", "method", "seed"]


def wall_thickness(labels: np.ndarray, spacing: tuple[float, float, float], cavity: int, myocardium: int) -> float:
    """Measure the mean thickness of the wall around a cavity on mid-ventricular slices.

    In each slice the wall is taken as the ring between two circles: one with the area of the cavity, one with the area
    of cavity and myocardium together. Its thickness is sqrt((cavity + myocardium) / pi) - sqrt(cavity / pi), as the
    echocardiographic guidelines define it for the short axis (Lang et al. 2015). It depends on areas alone, so neither
    the shape of the pixels nor a gap in a contour matters.

    Mid-ventricular slices are the middle third, rounded outwards, of the stretch of slices with both labels (Cerqueira
    et al. 2002), as far as they have both. Near the base the myocardium is open, and near the apex it is cut at an
    angle.

    Parameters
    ----------
    labels : ndarray of int, shape (z, y, x)
        Label map with slices perpendicular to the long axis.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).
    cavity, myocardium : int
        Their labels.

    Returns
    -------
    float
        Thickness in mm; NaN if no slice of the middle third has both labels.

    Raises
    ------
    InputError
        The labels are not 3-D, the spacing is not three positive numbers, or both labels are the same.

    References
    ----------
    R. M. Lang et al., J Am Soc Echocardiogr 2015;28:1-39.
    M. D. Cerqueira et al., Circulation 2002;105:539-542.
    """
    if labels.ndim != 3:
        raise InputError(f"Expected labels (z, y, x), not an array of shape {labels.shape}.")
    check_spacing(spacing)
    if cavity == myocardium:
        raise InputError(f"Cavity and myocardium have the same label, {cavity}; expected two structures.")
    pixel = spacing[1] * spacing[2]
    inner, wall = (np.count_nonzero(labels == label, axis=(1, 2)) * pixel for label in (cavity, myocardium))
    both = (inner > 0) & (wall > 0)
    if not both.any():
        return float("nan")
    first, last = np.flatnonzero(both)[[0, -1]]
    length = last + 1 - first
    middle = slice(first + length // 3, first - (-2 * length // 3))
    inner, wall = inner[middle][both[middle]], wall[middle][both[middle]]
    return float(np.mean(np.sqrt((inner + wall) / np.pi) - np.sqrt(inner / np.pi))) if len(inner) else float("nan")


def thickness(
    labels: np.ndarray, spacing: tuple[float, float, float], structures: Sequence[str], wall: Mapping[str, str]
) -> float:
    """Measure the `wall_thickness` of named structures.

    Parameters
    ----------
    labels : ndarray
        Labels (z, y, x), where label k + 1 is `structures[k]`.
    spacing : tuple of float
        Size of a voxel in mm, (z, y, x).
    structures : sequence of str
        Names of the structures.
    wall : mapping of str to str
        The configuration's `clinical`: which structures are cavity and myocardium.

    Returns
    -------
    float
        Thickness in mm.

    Raises
    ------
    InputError
        As in `wall_thickness`.
    """
    cavity, myocardium = (1 + list(structures).index(wall[key]) for key in ("cavity", "myocardium"))
    return wall_thickness(labels, spacing, cavity, myocardium)


def measure(
    labels: np.ndarray,
    spacing: tuple[float, float, float],
    structures: Sequence[str],
    wall: Mapping[str, str] | None,
) -> dict[str, float]:
    """Measure the clinical quantities of one mask.

    Parameters
    ----------
    labels : ndarray of int, shape (z, y, x)
        0 is background, label k + 1 is `structures[k]`.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).
    structures : sequence of str
        Names of the structures.
    wall : mapping of str to str or None
        The section `clinical` of the configuration: the names of the `cavity` and the `myocardium`.

    Returns
    -------
    dict of str to float
        The quantities, named as the columns of `quantities`.
    """
    counts = np.bincount(labels.ravel(), minlength=1 + len(structures))[1:]
    volumes = dict(zip(structures, counts * float(np.prod(spacing)) / 1000, strict=True))
    found = {f"{structure}_volume_ml": float(volume) for structure, volume in volumes.items()}
    if wall:
        found[f"{wall['myocardium']}_mass_g"] = MYOCARDIAL_DENSITY * float(volumes[wall["myocardium"]])
        found[f"{wall['myocardium']}_thickness_mm"] = thickness(labels, spacing, structures, wall)
    return found


def quantities(metrics: pd.DataFrame, myocardium: str | None) -> pd.DataFrame:
    """Gather the clinical quantities of all masks.

    Parameters
    ----------
    metrics : DataFrame
        The columns split, patient, method, seed, structure, volume_ml, volume_truth_ml, wall_thickness_mm and
        wall_thickness_truth_mm.
    myocardium : str or None
        The structure whose mass and thickness are given.

    Returns
    -------
    DataFrame
        One row per mask, after that of each patient's manual mask (method `MANUAL`): split, patient, method, seed,
        {structure}_volume_ml for each structure, {myocardium}_mass_g, {myocardium}_thickness_mm. A structure that a
        mask misses has volume 0. A quantity that was not measured is NaN.
    """
    structures = list(dict.fromkeys(metrics["structure"]))
    rows = []
    for (split, patient), of_patient in metrics.groupby(["split", "patient"], sort=False):
        about = {"split": split, "patient": patient}
        truth = of_patient.groupby("structure", sort=False).first()
        rows.append(about | {"method": MANUAL, "seed": pd.NA} | _quantities(truth, "_truth", structures, myocardium))
        for (method, seed), mask in of_patient.groupby(["method", "seed"], sort=False, dropna=False):
            found = _quantities(mask.set_index("structure"), "", structures, myocardium)
            rows.append(about | {"method": method, "seed": seed} | found)
    columns = [f"{structure}_volume_ml" for structure in structures]
    columns += [f"{myocardium}_mass_g", f"{myocardium}_thickness_mm"] if myocardium in structures else []
    return pd.DataFrame(rows, columns=[*MASK, *columns]).astype({"seed": "Int64"})


def _quantities(mask: pd.DataFrame, which: str, structures: list[str], myocardium: str | None) -> dict[str, float]:
    volumes = mask[f"volume{which}_ml"].reindex(structures)
    found = {f"{structure}_volume_ml": float(volumes[structure]) for structure in structures}
    if myocardium in structures:
        found[f"{myocardium}_mass_g"] = MYOCARDIAL_DENSITY * float(volumes[myocardium])
        found[f"{myocardium}_thickness_mm"] = float(mask[f"wall_thickness{which}_mm"].get(myocardium, np.nan))
    return found
