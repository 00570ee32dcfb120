"""How sure an ensemble is, voxel by voxel."""

from collections.abc import Sequence

import numpy as np

MEASURES = ("predictive entropy", "mutual information")


def maps(members: Sequence[np.ndarray]) -> np.ndarray:
    """Uncertainty (2, z, y, x; float32) of members' class probabilities, each (classes, z, y, x).

    First the entropy of the members' mean p, H(p) = -sum_c p_c log p_c: the whole uncertainty. Then the mutual
    information of class and member, H(p) - mean_m H(p_m): what the members disagree about, the mean Kullback-Leibler
    divergence of a member from p (Lakshminarayanan et al. 2017; Smith and Gal 2018). Both are divided by
    log(classes), so that 1 is a uniform p. One member alone disagrees with nobody: its second map is 0.
    """
    entropy = predictive_entropy(members)
    expected = np.mean([_entropy(member.astype(np.float64)) for member in members], axis=0)
    return np.stack([entropy, np.clip(entropy - expected, 0, None)]).astype(np.float32)


def predictive_entropy(members: Sequence[np.ndarray]) -> np.ndarray:
    """The first of `maps` alone, (z, y, x; float64)."""
    return _entropy(np.stack(members).mean(axis=0, dtype=np.float64))


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    logarithms = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return -(probabilities * logarithms).sum(axis=0) / np.log(len(probabilities))
