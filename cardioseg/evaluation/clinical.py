"""What a clinician reads off a segmentation: volumes, and mass and thickness of the myocardium."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cardioseg.core.errors import InputError

# g/ml; the value of the guidelines: Schulz-Menger et al., J Cardiovasc Magn Reson 2020;22:19.
MYOCARDIAL_DENSITY = 1.05
MANUAL = "manual"
MASK = ["split", "patient", "method", "seed"]


def wall_thickness(labels: np.ndarray, spacing: tuple[float, float, float], cavity: int, myocardium: int) -> float:
    """Mean thickness in mm of the wall around a cavity on mid-ventricular slices; NaN without such a slice.

    In each slice the wall is taken for the ring between two circles, one of the area of the cavity and one of the area
    of cavity and myocardium together: sqrt((cavity + myocardium) / pi) - sqrt(cavity / pi), the definition of the
    echocardiographic guidelines for the short axis (Lang et al., J Am Soc Echocardiogr 2015;28:1-39). It depends on
    areas alone, so neither on the pixels' shape nor on gaps in a contour. The slices are those in the middle third,
    rounded outwards, of the stretch with both labels (the thirds of Cerqueira et al., Circulation 2002;105:539-542),
    that have both: near the base the myocardium is open, near the apex it is cut at an angle.

    labels: (z, y, x), integers, slices perpendicular to the long axis. spacing: mm, (z, y, x).

    Raises
    ------
    InputError
        Labels that are no volume, a spacing that is not three positive numbers, or one label for both.
    """
    if labels.ndim != 3 or len(spacing) != 3 or not all(np.isfinite(size) and size > 0 for size in spacing):
        raise InputError(
            f"Expected labels (z, y, x) and a spacing of three positive numbers (mm), not {labels.shape} and {spacing}."
        )
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


def measure(
    labels: np.ndarray,
    spacing: tuple[float, float, float],
    structures: Sequence[str],
    wall: Mapping[str, str] | None,
) -> dict[str, float]:
    """The clinical quantities of one mask (z, y, x), where label k + 1 is `structures[k]`, named as in `quantities`.

    spacing: mm, (z, y, x). wall: the configuration's `clinical`: which structures are cavity and myocardium, if any.
    """
    counts = np.bincount(labels.ravel(), minlength=1 + len(structures))[1:]
    volumes = dict(zip(structures, counts * float(np.prod(spacing)) / 1000, strict=True))
    found = {f"{structure}_volume_ml": float(volume) for structure, volume in volumes.items()}
    if wall:
        cavity, myocardium = (1 + list(structures).index(wall[key]) for key in ("cavity", "myocardium"))
        found[f"{wall['myocardium']}_mass_g"] = MYOCARDIAL_DENSITY * float(volumes[wall["myocardium"]])
        found[f"{wall['myocardium']}_thickness_mm"] = wall_thickness(labels, spacing, cavity, myocardium)
    return found


def quantities(metrics: pd.DataFrame, myocardium: str | None) -> pd.DataFrame:
    """Clinical quantities, a row a mask, after those of each patient's manual mask (method `MANUAL`).

    metrics: the columns split, patient, method, seed, structure, volume_ml, volume_truth_ml, wall_thickness_mm,
    wall_thickness_truth_mm. myocardium: the structure of which mass and thickness are given, if any.

    Returns the columns split, patient, method, seed, a {structure}_volume_ml each, {myocardium}_mass_g and
    {myocardium}_thickness_mm. A structure that a mask misses has volume 0; what was not measured is NaN.
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
