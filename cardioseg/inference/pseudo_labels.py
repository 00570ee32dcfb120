"""Labels that a network can learn from where nobody has drawn any: what other networks, or a witness, make of an image.

References
----------
Lee, "Pseudo-label: the simple and efficient semi-supervised learning method for deep neural networks", ICML workshop
2013. Zou et al., "Confidence regularized self-training", ICCV 2019.
"""

import numpy as np
from scipy import ndimage


def of(probabilities: np.ndarray, least_confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Turn class probabilities into labels, and into how much each of these is to be trusted.

    Parameters
    ----------
    probabilities
        (classes, z, y, x), class 0 is background; sum to one over the classes.
    least_confidence
        Labels of a lower probability are not trusted at all.

    Returns
    -------
    labels : numpy.ndarray
        (z, y, x; uint8): the most probable class, and of each structure its largest piece in 3-D alone; the other
        pieces become background.
    trust : numpy.ndarray
        (z, y, x; float32): the probability of the label, or 0. So a piece that has become background is trusted as far
        as background is probable there.
    """
    labels = probabilities.argmax(axis=0).astype(np.uint8)
    for structure in range(1, len(probabilities)):
        mask = labels == structure
        labels[mask & ~_largest_piece(mask)] = 0
    confidence = np.take_along_axis(probabilities, labels[None].astype(np.intp), axis=0)[0]
    trust = np.where(confidence < least_confidence, 0, confidence).astype(np.float32)
    return labels, trust


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest of the pieces of a mask, neighbours sharing a face."""
    pieces, count = ndimage.label(mask)
    return pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:]) if count else mask
