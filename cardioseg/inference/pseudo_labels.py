"""Pseudo-labels: what other networks see in an unlabelled image, as labels to learn from.

References
----------
Lee, "Pseudo-label: the simple and efficient semi-supervised learning method for deep neural networks", ICML workshop
2013. Zou et al., "Confidence regularized self-training", ICCV 2019.
"""

import numpy as np
from scipy import ndimage


def of(probabilities: np.ndarray, least_confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Turn class probabilities into labels and the trust in each label.

    Parameters
    ----------
    probabilities : ndarray of shape (classes, z, y, x)
        Probabilities that sum to 1 over the classes; class 0 is background.
    least_confidence : float
        Labels with a lower probability have trust 0.

    Returns
    -------
    labels : ndarray of uint8, shape (z, y, x)
        The most probable class. Each structure keeps only its largest piece in 3-D; its other pieces become background.
    trust : ndarray of float32, shape (z, y, x)
        The probability of the label, or 0. A piece that has become background has the probability of background.
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
