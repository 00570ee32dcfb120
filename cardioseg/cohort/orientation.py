"""Which way round slices are stored: turns an image in-plane as most images of a cohort are stored.

Headers tell it if they can be believed, and networks otherwise: `decide` weighs the two.

The oblique short axis lies near 45 degrees to the body's axes. Codes such as LSP therefore change from patient to
patient though the pictures look alike. So the directions themselves are compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cardioseg.core.turns import AS_STORED, TURNS, Turn, directions, nearest
from cardioseg.core.volumes import Volume

# Slice normals of the short axis lie up to 21 degrees off their mean in MS-CMRSeg; those of the body's axes over 45.
MAXIMAL_TILT_DEGREES = 40.0
ALIGNED = 1e-3
# Networks overrule a header, or its absence, where an image looks more like a heart another way round by this much. A
# small localiser looks by up to 0.26 more at a wrong way of MS-CMRSeg's LGE, and by 0.3 and more at the right way of
# most images that are turned by 180 degrees or mirrored left to right.
MARGIN = 0.3
UNTOLD = "its header does not tell which way round it is stored, or cannot be believed"


@dataclass(frozen=True)
class Decision:
    """How an image is turned, and why a person should look whether that is right; empty where nothing is in doubt."""

    turn: Turn
    doubt: str


def usual(affines: Sequence[np.ndarray]) -> np.ndarray | None:
    """Find how most images of a cohort are stored.

    Images along the body's axes count only where there are no others: short-axis stacks are oblique, and programs that
    lose a header put these axes in its place.

    Parameters
    ----------
    affines : sequence of ndarray
        The images' affines (4, 4).

    Returns
    -------
    ndarray or None
        Mean directions (2, 3) of the images that are stored alike and are most; None without any image.
    """
    oblique = [directions(affine) for affine in affines if not _aligned(directions(affine))]
    found = np.array(oblique or [directions(affine) for affine in affines])
    if not len(found):
        return None
    # Cosines between the directions of each pair; a pair is alike where no turn would bring it nearer.
    cosines = np.einsum("iak,jbk->ijab", found, found)
    xx, xy, yx, yy = (cosines[..., a, b] for a in (0, 1) for b in (0, 1))
    alike = (np.minimum(xx, yy) >= 0) & (xx + yy >= np.abs(xy) + np.abs(yx) - 1e-6)
    return found[alike[int(alike.sum(axis=1).argmax())]].mean(axis=0)


def by_header(affine: np.ndarray | None, wanted: np.ndarray) -> Turn | None:
    """Find the turn that a header asks for.

    Parameters
    ----------
    affine : ndarray or None
        The image's affine (4, 4); None where its file has none.
    wanted : ndarray
        Directions (2, 3) of the cohort, see `usual`.

    Returns
    -------
    Turn or None
        None where the header cannot be believed: the slices' normal is not the cohort's, whichever end is first, or the
        axes are the body's but not also the cohort's.
    """
    if affine is None:
        return None
    own = directions(affine)
    normal, usual_normal = (np.cross(*pair) / np.linalg.norm(np.cross(*pair)) for pair in (own, wanted))
    if abs(normal @ usual_normal) < np.cos(np.radians(MAXIMAL_TILT_DEGREES)):
        return None
    turn = nearest(affine, wanted)
    if _aligned(own) and (turn != AS_STORED or not _aligned(wanted)):
        return None
    return turn


def decide(header: Turn | None, image: Volume, likeness: Callable[[Volume], float]) -> Decision:
    """Weigh what an image's header says against what networks see.

    Parameters
    ----------
    header : Turn or None
        See `by_header`.
    image : Volume
        The image as it is stored.
    likeness : callable
        How much an image looks like what the networks learnt, from 0 to 1.

    Returns
    -------
    Decision
        The header's turn, or the image as stored where its header says nothing, unless it looks better another way
        round by more than `MARGIN`.
    """
    told = header or AS_STORED
    better = overruled(told, image, likeness)
    if better:
        said = UNTOLD if header is None else f"by its header it would be taken {told}"
        return Decision(better, f"{said}; the networks know it {better}")
    return Decision(told, "" if header else f"{UNTOLD}: it is taken as stored")


def overruled(told: Turn, image: Volume, likeness: Callable[[Volume], float]) -> Turn | None:
    """Find the turn after which networks recognise an image better than after the turn by the header.

    Parameters
    ----------
    told : Turn
        The turn by the header.
    image : Volume of shape (z, y, x)
        As for `decide`.
    likeness : callable
        As for `decide`.

    Returns
    -------
    Turn or None
        The best turn if it is better by more than `MARGIN`.
    """
    as_told = likeness(told.apply(image))
    if 1 - as_told <= MARGIN:  # no other turn can look better by more
        return None
    looks = {turn: as_told if turn == told else likeness(turn.apply(image)) for turn in TURNS}
    best = max(looks, key=lambda turn: looks[turn])
    return best if looks[best] - as_told > MARGIN else None


def _aligned(pair: np.ndarray) -> bool:
    """Whether directions (2, 3) are those of the body's axes."""
    return bool((np.abs(pair - np.rint(pair)) < ALIGNED).all())
