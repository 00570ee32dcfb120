"""All slices of one image with its scar, the dark cores in it, and the remote myocardium that it was measured by."""

import numpy as np
from matplotlib.figure import Figure

from cardioseg.clinical.scar import CODES
from cardioseg.core.volumes import Volume
from cardioseg.figures import sheet


def figure(image: Volume, labels: np.ndarray, scar: np.ndarray, title: str) -> Figure:
    """Every slice about a mask (z, y, x) with the contours of its scar, which is labelled by `scar.CODES`."""
    return sheet.figure(image, scar, title, [name.replace("_", " ") for name in CODES], around=labels)
