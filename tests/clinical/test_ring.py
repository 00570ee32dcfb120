import numpy as np
import pytest

from cardioseg.clinical import ring

SPACING = (8.0, 1.5, 1.5)
CAVITY, WALL = 1, 2


def stack(radii, walls):
    """A stack of discs: in each slice a cavity of a radius (0: none) in a wall of another, in pixels."""
    distance = np.hypot(*np.mgrid[-15:16, -15:16])
    slices = [
        np.where(distance < cavity, CAVITY, np.where(distance < wall, WALL, 0))
        for cavity, wall in zip(radii, walls, strict=True)
    ]
    return ring.ring(np.stack(slices), SPACING, CAVITY, WALL)


def test_the_base_is_where_the_ventricle_is_larger():
    heart = stack([3, 4, 6, 7, 8, 8], [6, 8, 10, 11, 12, 13])
    np.testing.assert_array_equal(ring.from_base(heart), [5, 4, 3, 2, 1, 0])
    np.testing.assert_array_equal(ring.basal_slices(heart, 2), [5, 4])


def test_the_base_is_told_by_a_third_of_the_slices():
    heart = stack([3, 4, 6, 7, 8, 1], [8, 9, 10, 11, 12, 6])
    np.testing.assert_array_equal(ring.from_base(heart), [5, 4, 3, 2, 1, 0])


def test_at_most_a_third_of_the_slices_is_basal():
    heart = stack([3, 4, 6, 7, 8, 8], [6, 8, 10, 11, 12, 13])
    np.testing.assert_array_equal(ring.basal_slices(heart, 5), [5, 4])
    np.testing.assert_array_equal(ring.basal_slices(stack([0, 0, 0], [4, 5, 6]), 5), [])


def test_polar_coordinates_are_in_mm_about_the_middle_of_the_cavity():
    labels = np.zeros((2, 7, 9), int)
    labels[:, 1:6, 2:9] = WALL
    labels[0, 3, 4] = CAVITY
    found = ring.ring(labels, (8.0, 2.0, 1.0), CAVITY, WALL)
    degrees = np.degrees(found.angle)
    # Two columns are 2 mm, a row is 2 mm.
    assert (degrees[0, 3, 6], found.radius[0, 3, 6]) == (0, 2)
    assert (degrees[0, 5, 4], found.radius[0, 5, 4]) == (90, 4)
    assert (degrees[0, 1, 4], found.radius[0, 1, 4]) == (-90, 4)
    assert (degrees[0, 4, 6], found.radius[0, 4, 6]) == (45, 8**0.5)
    # Without a cavity it is the middle of the wall, columns 2 to 8.
    assert (degrees[1, 3, 8], found.radius[1, 3, 8]) == (0, 3)
    assert np.isnan(found.depth[1]).all()


@pytest.mark.parametrize(
    ("degrees", "start", "width"),
    [([0, 100, -100], 100, 160), ([-30, 0, 110, 170], 170, 160), ([-150, 150, 10], -150, 160), ([40], 40, 360)],
)
def test_widest_gap_may_lie_where_the_angles_begin_again(degrees, start, width):
    assert np.degrees(ring.widest_gap(np.radians(degrees))) == pytest.approx((start, width))


def test_slices_of_a_cavity_without_a_wall_do_not_count():
    np.testing.assert_array_equal(ring.from_base(stack([4, 6, 7, 8], [8, 10, 11, 8])), [2, 1, 0])


def with_gaps(degrees):
    """A stack, from the apex, whose walls are missing over an angle in each slice."""
    angle = np.degrees(np.arctan2(*np.mgrid[-40:41, -40:41]))
    distance = np.hypot(*np.mgrid[-40:41, -40:41])
    slices = [
        np.where(distance < 20 + z, CAVITY, np.where((distance < 30 + z) & (np.abs(angle) > gap / 2), WALL, 0))
        for z, gap in enumerate(degrees)
    ]
    return ring.ring(np.stack(slices), SPACING, CAVITY, WALL)


@pytest.mark.parametrize(
    ("degrees", "opened"),
    [
        ([60] * 6, [3, 2, 1]),  # neither at the apex nor in the basal third
        ([0, 60, 20, 40, 0, 0], [3, 1]),
        ([60] * 3, [1]),
        ([60] * 2, []),
    ],
)
def test_slices_between_base_and_apex_are_open_where_the_wall_is_missing(degrees, opened):
    np.testing.assert_array_equal(ring.open_slices(with_gaps(degrees)), opened)


def test_the_box_of_a_mask_without_a_ventricle_is_the_whole_volume():
    labels = np.full((2, 3, 4), 7)
    assert labels[ring.ring_box(labels, CAVITY, WALL)].shape == (2, 3, 4)


@pytest.mark.parametrize("order", [1, -1])
def test_two_slices_with_a_cavity_tell_base_and_apex(order):
    heart = stack([8, 6, 0, 0, 0, 0][::order], [12, 10, 8, 6, 5, 4][::order])
    base = [0, 1] if order == 1 else [5, 4]
    np.testing.assert_array_equal(ring.from_base(heart), base)
    np.testing.assert_array_equal(ring.basal_slices(heart, 2), base)


def test_depth_does_not_hang_on_how_much_surrounds_the_heart():
    distance = np.hypot(*np.mgrid[-15:16, -15:16])
    labels = np.where(distance < 6, CAVITY, np.where(distance < 12, WALL, 0))[None]
    box = ring.ring_box(labels, CAVITY, WALL)
    whole, cut = (ring.ring(part, SPACING, CAVITY, WALL) for part in (labels, labels[box]))
    np.testing.assert_allclose(cut.depth, whole.depth[box])
    # The wall is 6 pixels thick, so that the last is 6 pixels from the cavity and 1 from what surrounds the heart.
    assert cut.depth[0, 0, 11] == 6 / 7
    assert cut.depth[0, 5, 11] == 1 / 7
    # Of the pixels from the outside on, the third is 3 rows of 1.5 mm from what surrounds the heart.
    np.testing.assert_array_equal(cut.border_mm[0, :7, 11], [1.5, 3, 4.5, 4.5, 3, 1.5, 0])
