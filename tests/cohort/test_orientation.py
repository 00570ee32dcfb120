import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardioseg.cohort import orientation
from cardioseg.core.turns import AS_STORED, TURNS, Turn, directions
from short_axis import AFFINE, image, rotated


def test_usual_directions_are_the_mean_of_similar_ones():
    """The orientation codes of these three differ, but the pictures look alike."""
    affines = [rotated(AFFINE, degrees, (0, 0, 1)) for degrees in (-10, 0, 10)]
    np.testing.assert_allclose(orientation.usual(affines), directions(AFFINE), atol=0.02)


@pytest.mark.parametrize("turn", TURNS[1:])
def test_usual_directions_are_those_of_most(turn):
    affines = [turn.apply(image()).affine, AFFINE, AFFINE]
    np.testing.assert_allclose(orientation.usual(affines), directions(AFFINE))


def test_bare_headers_do_not_outvote_others():
    assert orientation.usual([]) is None
    np.testing.assert_allclose(orientation.usual([BARE, BARE, AFFINE]), directions(AFFINE))
    np.testing.assert_allclose(orientation.usual([BARE, BARE]), directions(BARE))


# What scripts leave of a header: the spacing, in the axes of NIfTI or of ITK, slices on any axis.
BARE = np.diag([1.5, 1.25, 8, 1])
AXES = [BARE, np.diag([-1, -1, 1, 1]) @ BARE, BARE[[2, 0, 1, 3]], BARE[[1, 2, 0, 3]]]


@pytest.mark.parametrize("axes", AXES)
def test_bare_header_is_not_believed(axes):
    assert orientation.by_header(axes, directions(AFFINE)) is None
    assert orientation.by_header(AFFINE, directions(axes)) is None
    assert orientation.by_header(None, directions(AFFINE)) is None


def test_bare_header_is_believed_where_all_headers_are_equal():
    assert orientation.by_header(BARE, directions(BARE)) == AS_STORED
    assert orientation.by_header(np.diag([-1, -1, 1, 1]) @ BARE, directions(BARE)) is None


@given(turn=st.sampled_from(TURNS), degrees=st.floats(-25, 25), flip=st.sampled_from([1, -1]))
def test_clinical_header_is_believed(turn, degrees, flip):
    """Hearts lie at other angles, and a stack may begin at either end."""
    stored = turn.apply(image(affine=rotated(AFFINE, degrees, (0.3, -1, 0.5)) @ np.diag([1, 1, flip, 1])))
    told = orientation.by_header(stored.affine, directions(AFFINE))
    np.testing.assert_array_equal(told.apply(stored).array, image().array)


def test_header_of_another_view_is_not_believed():
    assert orientation.by_header(rotated(AFFINE, 90, AFFINE[:3, 0]), directions(AFFINE)) is None


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
