"""Uncertainty of several members' predictions, voxel by voxel."""

from collections.abc import Sequence

import numpy as np

MAPS = ("predictive entropy", "mutual information")


def maps(members: Sequence[np.ndarray]) -> np.ndarray:
    """Compute two maps of uncertainty.

    The first is the entropy of the members' mean p, H(p) = -sum_c p_c log p_c: the total uncertainty. The second is the
    mutual information of class and member, H(p) - mean_m H(p_m): the part that comes from disagreement. It equals the
    mean Kullback-Leibler divergence of a member from p.

    Parameters
    ----------
    members : sequence of ndarray, shape (classes, z, y, x)
        Class probabilities of each member.

    Returns
    -------
    ndarray of float32, shape (2, z, y, x)
        Entropy and mutual information, divided by log(classes), so that 1 is a uniform p. With a single member the
        second map is 0.

    References
    ----------
    B. Lakshminarayanan, A. Pritzel, C. Blundell: Simple and scalable predictive uncertainty estimation, NeurIPS 2017.
    L. Smith, Y. Gal: Understanding measures of uncertainty for adversarial example detection, UAI 2018.
    """
    entropy = predictive_entropy(members)
    expected = np.mean([_entropy(member.astype(np.float64)) for member in members], axis=0)
    return np.stack([entropy, np.clip(entropy - expected, 0, None)]).astype(np.float32)


def predictive_entropy(members: Sequence[np.ndarray]) -> np.ndarray:
    """Compute only the first of `maps`, (z, y, x; float64).

    Parameters
    ----------
    members : sequence of ndarray, each of shape (classes, z, y, x)
        Class probabilities.

    Returns
    -------
    ndarray of float64, shape (z, y, x)
        From 0 (certain) to 1.
    """
    return _entropy(np.stack(members).mean(axis=0, dtype=np.float64))


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    logarithms = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return -(probabilities * logarithms).sum(axis=0) / np.log(len(probabilities))
