import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardioseg.core.turns import TURNS, Turn, directions, nearest
from cardioseg.core.volumes import Volume
from short_axis import AFFINE, image, rotated


def at(volume, point):
    """The voxel nearest to a point of the scanner."""
    x, y, z = np.rint((np.linalg.inv(volume.affine) @ [*point, 1])[:3]).astype(int)
    return volume.array[..., z, y, x]


def test_no_turn_changes_nothing():
    assert len(set(TURNS)) == 8
    volume = image()
    turned = TURNS[0].apply(volume)
    np.testing.assert_array_equal(turned.array, volume.array)
    np.testing.assert_array_equal(turned.affine, volume.affine)


@pytest.mark.parametrize("turn", TURNS)
def test_voxels_keep_their_place_in_the_scanner(turn):
    volume = image()
    turned = turn.apply(volume)
    assert turned.notes == volume.notes
    for z, y, x in [(0, 0, 0), (1, 4, 6), (1, 1, 5), (0, 3, 2)]:
        point = (volume.affine @ [x, y, z, 1])[:3]
        assert at(turned, point) == volume.array[z, y, x]


def test_turn_by_hand():
    volume = Volume(np.array([[[1, 2, 3], [4, 5, 6]]]), np.eye(4))
    turned = Turn(swap=True, reverse_rows=True, reverse_columns=False).apply(volume)
    np.testing.assert_array_equal(turned.array, [[[3, 6], [2, 5], [1, 4]]])


@given(
    turn=st.sampled_from(TURNS),
    degrees=st.floats(-40, 40),
    axis=st.tuples(*3 * [st.floats(-1, 1)]).filter(lambda axis: np.linalg.norm(axis) > 0.1),
)
def test_nearest_finds_the_way_back(turn, degrees, axis):
    """This holds however an image is stored, and for a heart at another angle than the cohort's."""
    stored = turn.apply(image(affine=rotated(AFFINE, degrees, axis)))
    back = nearest(stored.affine, directions(AFFINE)).apply(stored)
    np.testing.assert_array_equal(back.array, image().array)


def test_slices_from_the_other_end_are_the_same_pictures():
    affine = AFFINE @ np.diag([1, 1, -1, 1])
    assert nearest(affine, directions(AFFINE)) == Turn()


@pytest.mark.parametrize(
    ("turn", "by_hand"),
    [
        (Turn(False, True, True), lambda array: np.rot90(array, 2, (1, 2))),
        (Turn(True, True, False), lambda array: np.rot90(array, 1, (1, 2))),
        (Turn(True, False, True), lambda array: np.rot90(array, -1, (1, 2))),
        (Turn(False, True, False), lambda array: array[:, ::-1]),
        (Turn(False, False, True), lambda array: array[:, :, ::-1]),
    ],
)
def test_turns_do_what_they_are_called(turn, by_hand):
    words = {2: "turned by 180 degrees", 1: "turned by 90 degrees"}
    np.testing.assert_array_equal(turn.apply(image()).array, by_hand(image().array))
    mirrored = "mirrored top to bottom" if turn.reverse_rows else "mirrored left to right"
    assert str(turn) == (words[1] if turn.swap else words[2] if turn == Turn(False, True, True) else mirrored)
