"""Which results a person should check, and why."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from cardioseg.core import overlap

# The Dice between members follows the Dice against a manual mask (Roy et al., NeuroImage 2019;195:11-22), and tends to
# be higher.
LEAST_AGREEMENT = 0.7
# Dice of all structures; between the registered heart of one examination and the heart of another.
LEAST_SOURCE_AGREEMENT = 0.7
# A volume is implausible when it lies outside the training cohort's range by more than this factor.
VOLUME_MARGIN = 1.5
# So many slices that the members draw and the mask leaves empty are a reason; one at an end is usual.
MOST_EMPTIED = 1


def agreement(members: np.ndarray, structures: Sequence[str]) -> dict[str, float]:
    """Measure the mean Dice between any two members.

    A pair does not count for a structure that both members miss.

    Parameters
    ----------
    members : ndarray of int, shape (members, z, y, x)
        Labels of each member: 0 is background, label k + 1 is `structures[k]`.
    structures : sequence of str
        Names of the structures.

    Returns
    -------
    dict of str to float
        By structure; NaN where no pair counts, as with a single member.
    """
    return {
        name: overlap.mean(overlap.dice(one == label, other == label) for one, other in combinations(members, 2))
        for label, name in enumerate(structures, start=1)
    }


def at_edge(labels: np.ndarray, structures: Sequence[str]) -> dict[str, bool]:
    """Tell which structures reach the edge of the image in-plane, beyond which a part of them may lie.

    Parameters
    ----------
    labels : ndarray of int, shape (z, y, x)
        Labels on the grid of the image: 0 is background, label k + 1 is `structures[k]`.
    structures : sequence of str
        Names of the structures.

    Returns
    -------
    dict of str to bool
        By structure.
    """
    edge = np.concatenate([labels[:, [0, -1]].ravel(), labels[..., [0, -1]].ravel()])
    return {name: bool((edge == label).any()) for label, name in enumerate(structures, start=1)}


def reasons(
    volumes_ml: Mapping[str, float],
    known_ml: Mapping[str, Sequence[float]],
    agreements: Mapping[str, float],
    edges: Mapping[str, bool],
    members: np.ndarray,
    found: bool,
    orientation: str,
) -> list[str]:
    """List the reasons why a person should check a result.

    Parameters
    ----------
    volumes_ml : mapping of str to float
        Volumes by structure.
    known_ml : mapping of str to sequence of float
        Smallest and largest volume of each structure in the training cohort.
    agreements : mapping of str to float
        As from `agreement`.
    edges : mapping of str to bool
        As from `at_edge`.
    members : ndarray of int, shape (members, z, y, x)
        Labels of each member on the grid of the crop.
    found : bool
        Whether the heart was found.
    orientation : str
        What is in doubt about the way round that the image is stored; empty if nothing is.

    Returns
    -------
    list of str
        The reasons; empty for an unsuspicious result.
    """
    why = [] if found else ["the localiser finds no heart: the crop is centred on the image"]
    why += [orientation] if orientation else []
    for name, volume in volumes_ml.items():
        why += doubts(name, volume, known_ml[name], agreements[name], edges[name])
    if members[..., [0, -1], :].any() or members[..., [0, -1]].any():
        why.append("the segmentation reaches the edge of the crop")
    return why


def emptied_reasons(members: np.ndarray, labels: np.ndarray) -> list[str]:
    """List why a person should look for parts of the heart that post-processing or fusion took away.

    That may happen where the members leave a slice empty that parts the heart in two, of which one piece is kept, or
    where a source image shows a part of the heart.

    Parameters
    ----------
    members : ndarray of int, shape (members, z, y, x)
        Labels of each member on the grid of the crop.
    labels : ndarray of int, shape (z, y, x)
        The mask, with the same slices.

    Returns
    -------
    list of str
        The reasons; empty if nothing stands out.
    """
    drawn = members.any(axis=(2, 3)).mean(axis=0) > 0.5
    emptied = np.count_nonzero(drawn & ~labels.any(axis=(1, 2)))
    return [f"{emptied} slices are empty in which the networks see a heart"] if emptied > MOST_EMPTIED else []


def source_reasons(agreement: float, unused: str) -> list[str]:
    """List why a person should check a result that a source image was given for.

    Parameters
    ----------
    agreement : float
        Dice with the ensemble alone, as in `segmentation.Witness`.
    unused : str
        Why the source image is not used; empty if it is.

    Returns
    -------
    list of str
        The reasons; empty if nothing stands out.
    """
    if unused:
        return [f"the source image is not used: {unused}"]
    if agreement < LEAST_SOURCE_AGREEMENT:
        return [f"the source image disagrees (Dice {agreement:.2f} with the ensemble alone): of this patient?"]
    return []


def doubts(name: str, volume_ml: float, known_ml: Sequence[float], agreement: float, edge: bool) -> list[str]:
    """List why a person should look at the outline of one structure.

    Parameters
    ----------
    name : str
        Name of the structure.
    volume_ml : float
        Its volume in ml.
    known_ml : sequence of float
        The least and greatest volume in the training labels, in ml.
    agreement : float
        Mean Dice between the members of the ensemble.
    edge : bool
        Whether it reaches the edge of the image.

    Returns
    -------
    list of str
        The reasons; empty if nothing stands out.
    """
    why = []
    least, most = known_ml
    if volume_ml == 0:
        why.append(f"{name} is missing")
    elif not least / VOLUME_MARGIN <= volume_ml <= most * VOLUME_MARGIN:
        why.append(f"{name} of {volume_ml:.0f} ml is implausible (trained on {least:.0f} to {most:.0f} ml)")
    if agreement < LEAST_AGREEMENT:
        why.append(f"the ensemble disagrees on {name} (Dice {agreement:.2f} between its members)")
    if edge:
        why.append(f"{name} reaches the edge of the image: a part of it may lie outside")
    return why
