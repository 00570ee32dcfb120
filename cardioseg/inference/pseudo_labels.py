"""Pseudo-labels: what other networks see in an unlabelled image, to learn from.

The probabilities themselves are learned, not the most probable classes: at a border, where the networks are not sure,
the most probable class is often wrong, and a thin wall is less sure than what lies beside it.

References
----------
Hinton et al., "Distilling the knowledge in a neural network", NIPS deep learning workshop 2014. Zou et al., "Confidence
regularized self-training", ICCV 2019.
"""

import numpy as np
from scipy import ndimage


def in_one_piece(probabilities: np.ndarray) -> np.ndarray:
    """Keep the largest piece of each structure.

    Parameters
    ----------
    probabilities : ndarray of shape (classes, z, y, x)
        Probabilities that sum to 1 over the classes; class 0 is background.

    Returns
    -------
    ndarray of float32, shape (classes, z, y, x)
        The same, but where a structure is the most probable class outside of its largest piece in 3-D, background takes
        its probability.
    """
    kept = probabilities.astype(np.float32)
    labels = probabilities.argmax(axis=0)
    for structure in range(1, len(probabilities)):
        mask = labels == structure
        others = mask & ~_largest_piece(mask)
        kept[0, others] += kept[structure, others]
        kept[structure, others] = 0
    return kept


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest of the pieces of a mask, neighbours sharing a face."""
    pieces, count = ndimage.label(mask)
    return pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:]) if count else mask
