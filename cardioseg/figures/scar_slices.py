"""All slices of one image with its scar, the dark cores in it, and the remote myocardium that it was measured by."""

import numpy as np
from matplotlib.figure import Figure

from cardioseg.clinical.scar import CODES
from cardioseg.core.volumes import Volume
from cardioseg.figures import sheet


def figure(image: Volume, labels: np.ndarray, scar: np.ndarray, title: str) -> Figure:
    """Draw every slice around a mask with the contours of its scar.

    Parameters
    ----------
    image : Volume of shape (z, y, x)
        The image.
    labels : ndarray of int, shape (z, y, x)
        The mask of the heart.
    scar : ndarray of int, shape (z, y, x)
        The mask of the scar in the values of `scar.CODES`.
    title : str
        What stands above, in one or several lines.

    Returns
    -------
    Figure
        The figure.
    """
    return sheet.figure(image, scar, title, [name.replace("_", " ") for name in CODES], around=labels)
