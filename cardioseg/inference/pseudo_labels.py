"""Pseudo-labels: what other networks see in an unlabelled image, to learn from.

Probabilities tell where the networks are not sure, as at borders. But the weights of the classes in the loss raise the
same classes in teacher and student, and the fewer the teachers, the less their probabilities say. Then the most
probable classes serve better, if each counts by its probability.

References
----------
Hinton et al., "Distilling the knowledge in a neural network", NIPS deep learning workshop 2014. Zou et al., "Confidence
regularized self-training", ICCV 2019.
"""

import numpy as np

from cardioseg.inference.postprocessing import largest_component
from cardioseg.preprocessing import resampling


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
        others = mask & ~largest_component(mask)
        kept[0, others] += kept[structure, others]
        kept[structure, others] = 0
    return kept


def most_probable(probabilities: np.ndarray) -> np.ndarray:
    """Keep the probability of the most probable class alone, by which this class counts in a cross-entropy.

    Parameters
    ----------
    probabilities : ndarray of shape (classes, z, y, x)
        Probabilities.

    Returns
    -------
    ndarray of shape (classes, z, y, x)
        The same for the most probable class of each voxel, 0 for the others.
    """
    return resampling.one_hot(probabilities.argmax(axis=0), len(probabilities)) * probabilities.max(axis=0)
