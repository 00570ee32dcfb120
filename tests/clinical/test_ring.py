import numpy as np

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


def test_two_slices_with_a_cavity_tell_base_and_apex():
    heart = stack([8, 6, 0, 0, 0, 0], [12, 10, 8, 6, 5, 4])
    np.testing.assert_array_equal(ring.from_base(heart), [0, 1])
    np.testing.assert_array_equal(ring.basal_slices(heart, 2), [0, 1])


def test_depth_does_not_hang_on_how_much_surrounds_the_heart():
    distance = np.hypot(*np.mgrid[-15:16, -15:16])
    labels = np.where(distance < 6, CAVITY, np.where(distance < 12, WALL, 0))[None]
    box = ring.ring_box(labels, CAVITY, WALL)
    whole, cut = (ring.ring(part, SPACING, CAVITY, WALL) for part in (labels, labels[box]))
    np.testing.assert_allclose(cut.depth, whole.depth[box])
    # The wall is 6 pixels thick, so that the last is 6 pixels from the cavity and 1 from what surrounds the heart.
    assert cut.depth[0, 0, 11] == 6 / 7
