"""The overlap of masks, without MedPy: `cardioseg segment` must not load a package that is under the GPL."""

import math
from collections.abc import Iterable

import numpy as np


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Compute the Dice overlap of two masks, 2 |A and B| / (|A| + |B|).

    Parameters
    ----------
    first, second : ndarray of bool, shape (...)
        The masks.

    Returns
    -------
    float
        From 0 (no common voxel) to 1 (equal); NaN if both are empty.
    """
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * np.count_nonzero(first & second) / total if total else math.nan


def mean(values: Iterable[float]) -> float:
    """Average the values that are available.

    Parameters
    ----------
    values : iterable of float
        The values; NaN where one is not available.

    Returns
    -------
    float
        Their mean; NaN if none is available.
    """
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
