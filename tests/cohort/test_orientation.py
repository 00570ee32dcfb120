import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardioseg.cohort import orientation
from cardioseg.cohort.orientation import AS_STORED, TURNS, Turn
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


def test_usual_directions_are_the_mean_of_similar_ones():
    """The orientation codes of these three differ, but the pictures look alike."""
    affines = [rotated(AFFINE, degrees, (0, 0, 1)) for degrees in (-10, 0, 10)]
    np.testing.assert_allclose(orientation.usual(affines), orientation.directions(AFFINE), atol=0.02)


@pytest.mark.parametrize("turn", TURNS[1:])
def test_usual_directions_are_those_of_most(turn):
    affines = [turn.apply(image()).affine, AFFINE, AFFINE]
    np.testing.assert_allclose(orientation.usual(affines), orientation.directions(AFFINE))


def test_bare_headers_do_not_outvote_others():
    assert orientation.usual([]) is None
    np.testing.assert_allclose(orientation.usual([BARE, BARE, AFFINE]), orientation.directions(AFFINE))
    np.testing.assert_allclose(orientation.usual([BARE, BARE]), orientation.directions(BARE))


# What scripts leave of a header: the spacing, in the axes of NIfTI or of ITK, slices on any axis.
BARE = np.diag([1.5, 1.25, 8, 1])
AXES = [BARE, np.diag([-1, -1, 1, 1]) @ BARE, BARE[[2, 0, 1, 3]], BARE[[1, 2, 0, 3]]]


@pytest.mark.parametrize("axes", AXES)
def test_bare_header_is_not_believed(axes):
    assert orientation.by_header(axes, orientation.directions(AFFINE)) is None
    assert orientation.by_header(AFFINE, orientation.directions(axes)) is None
    assert orientation.by_header(None, orientation.directions(AFFINE)) is None


def test_bare_header_is_believed_where_all_headers_are_equal():
    assert orientation.by_header(BARE, orientation.directions(BARE)) == AS_STORED
    assert orientation.by_header(np.diag([-1, -1, 1, 1]) @ BARE, orientation.directions(BARE)) is None


@given(turn=st.sampled_from(TURNS), degrees=st.floats(-25, 25), flip=st.sampled_from([1, -1]))
def test_clinical_header_is_believed(turn, degrees, flip):
    """Hearts lie at other angles, and a stack may begin at either end."""
    stored = turn.apply(image(affine=rotated(AFFINE, degrees, (0.3, -1, 0.5)) @ np.diag([1, 1, flip, 1])))
    told = orientation.by_header(stored.affine, orientation.directions(AFFINE))
    np.testing.assert_array_equal(told.apply(stored).array, image().array)


def test_header_of_another_view_is_not_believed():
    assert orientation.by_header(rotated(AFFINE, 90, AFFINE[:3, 0]), orientation.directions(AFFINE)) is None


def liking(wanted, otherwise=0.0):
    """Networks that know an image as `wanted`, and give `otherwise` to any other."""
    return lambda volume: 0.7 if np.array_equal(volume.array, wanted) else otherwise


HALF = Turn(False, True, True)


@pytest.mark.parametrize("header", [AS_STORED, HALF])
def test_header_and_networks_agree(header):
    stored = header.apply(image())
    assert orientation.decide(header, stored, liking(image().array)) == orientation.Decision(header, "")


@pytest.mark.parametrize("header", [AS_STORED, Turn(True, False, True), None])
def test_networks_that_are_sure_overrule_the_header(header):
    stored = HALF.apply(image())
    decision = orientation.decide(header, stored, liking(image().array))
    assert decision.turn == HALF
    assert "the networks know it turned by 180 degrees" in decision.doubt
    assert ("header does not tell" in decision.doubt) is (header is None)


@pytest.mark.parametrize("header", [AS_STORED, HALF, None])
def test_networks_that_are_not_sure_do_not_overrule_the_header(header):
    decision = orientation.decide(header, Turn(True, True, True).apply(image()), liking(image().array, 0.5))
    assert decision.turn == (header or AS_STORED)
    assert decision.doubt == ("" if header else f"{orientation.UNTOLD}: it is taken as stored")


@pytest.mark.parametrize(("likeness", "looks"), [(0.71, 1), (0.69, len(TURNS))])
def test_other_turns_are_looked_at_only_where_one_of_them_could_overrule_the_header(likeness, looks):
    seen = []
    assert orientation.overruled(AS_STORED, image(), lambda volume: seen.append(volume) or likeness) is None
    assert len(seen) == looks


@pytest.mark.parametrize(
    ("turn", "by_hand"),
    [
        (HALF, lambda array: np.rot90(array, 2, (1, 2))),
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
    assert str(turn) == (words[1] if turn.swap else words[2] if turn == HALF else mirrored)
