import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardioseg.cohort import orientation
from cardioseg.cohort.orientation import TURNS, Turn
from cardioseg.core.volumes import Volume

# A short axis as it is often stored, oblique to all of the body's axes; spacing 1.5, 1.25 and 8 mm.
FRAME = np.array([[-0.67, -0.43, 0.6, 0], [-0.72, 0.2, -0.65, 0], [-0.17, 0.88, 0.45, 0], [0, 0, 0, 1]])
AFFINE = FRAME @ np.diag([1.5, 1.25, 8, 1])


def image(shape=(2, 5, 7), affine=AFFINE):
    return Volume(np.random.default_rng(0).uniform(size=shape), affine, ("odd",))


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


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("shape", [(2, 5, 7), (3, 2, 5, 7)])
def test_undo_reverses_a_turn(turn, shape):
    volume = image(shape)
    np.testing.assert_array_equal(turn.undo(turn.apply(volume).array), volume.array)


def test_turn_by_hand():
    volume = Volume(np.array([[[1, 2, 3], [4, 5, 6]]]), np.eye(4))
    turned = Turn(swap=True, reverse_rows=True, reverse_columns=False).apply(volume)
    np.testing.assert_array_equal(turned.array, [[[3, 6], [2, 5], [1, 4]]])


def rotated(affine, degrees, axis):
    angle = np.radians(degrees)
    axis = np.array(axis) / np.linalg.norm(axis)
    cross = np.cross(np.eye(3), axis)
    rotation = np.eye(4)
    rotation[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return rotation @ affine


@given(
    turn=st.sampled_from(TURNS),
    degrees=st.floats(-40, 40),
    axis=st.tuples(*3 * [st.floats(-1, 1)]).filter(lambda axis: np.linalg.norm(axis) > 0.1),
)
def test_nearest_finds_the_way_back(turn, degrees, axis):
    """This holds however an image is stored, and for a heart at another angle than the cohort's."""
    stored = turn.apply(image(affine=rotated(AFFINE, degrees, axis)))
    back = orientation.nearest(stored.affine, orientation.directions(AFFINE)).apply(stored)
    np.testing.assert_array_equal(back.array, image().array)


def test_slices_from_the_other_end_are_the_same_pictures():
    affine = AFFINE @ np.diag([1, 1, -1, 1])
    assert orientation.nearest(affine, orientation.directions(AFFINE)) == Turn()


def test_common_directions():
    """The orientation codes of these three differ, but the pictures look alike."""
    affines = [rotated(AFFINE, degrees, (0, 0, 1)) for degrees in (-10, 0, 10)]
    mean = orientation.common(affines)
    assert mean is not None
    np.testing.assert_allclose(mean, orientation.directions(AFFINE), atol=0.02)


@pytest.mark.parametrize("turn", TURNS[1:])
def test_no_common_directions(turn):
    assert orientation.common([AFFINE, turn.apply(image()).affine, turn.apply(image()).affine]) is None
