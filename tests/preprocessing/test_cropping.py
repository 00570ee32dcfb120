import numpy as np
import pytest

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.preprocessing import cropping

AFFINE = np.diag([1.25, 1.25, 8.0, 1.0])
SETTINGS = {"size": 32, "percentiles": [0, 100]}


@pytest.mark.parametrize(("centre", "start"), [((10.6, 9.4), (7, 5)), ((10.4, 9.6), (6, 6))])
def test_crop_lies_around_the_pixel_nearest_to_its_centre(centre, start):
    array = np.arange(30 * 40).reshape(1, 30, 40)
    (y, x), found = start, cropping.crop(Volume(array, AFFINE), centre, 8, 0)
    np.testing.assert_array_equal(found.array, array[:, y : y + 8, x : x + 8])
    np.testing.assert_allclose(found.affine[:3, 3], [1.25 * x, 1.25 * y, 0])


def test_crop_is_normalised_by_what_it_shows():
    array = np.full((2, 60, 60), 1e5, np.float32)
    array[:, 20:52, 14:46] = np.linspace(100, 300, 32)
    crop = cropping.crop_and_normalise(Volume(array, AFFINE), (36.0, 30.0), SETTINGS)
    assert crop.array.shape == (2, 32, 32)
    assert crop.array.dtype == np.float32
    np.testing.assert_allclose(crop.array, np.broadcast_to(np.linspace(-1, 1, 32), (2, 32, 32)), atol=1e-5)
    np.testing.assert_allclose(crop.affine[:3, 3], [14 * 1.25, 20 * 1.25, 0])


def test_padding_is_not_seen_by_the_percentiles():
    """All intensities are far above 0. If padding counted, the image would be squeezed into the upper end."""
    array = 1000 + np.random.default_rng(0).uniform(0, 10, (3, 20, 20)).astype(np.float32)
    crop = cropping.crop_and_normalise(Volume(array, AFFINE), (10, 10), SETTINGS)
    inside = np.zeros(crop.array.shape, bool)
    inside[:, 6:26, 6:26] = True
    assert (crop.array[~inside] == -1).all()
    assert crop.array[inside].min() == -1
    assert crop.array[inside].max() == 1
    np.testing.assert_allclose(crop.array[inside], 2 * (array - array.min()).ravel() / np.ptp(array) - 1, atol=1e-4)


def test_crop_beyond_the_image_is_refused():
    array = np.random.default_rng(0).uniform(0, 10, (3, 40, 40)).astype(np.float32)
    with pytest.raises(InputError, match="outside of the image"):
        cropping.crop_and_normalise(Volume(array, AFFINE), (200, 20), SETTINGS)


def test_crop_of_nothing_but_air_is_refused():
    array = np.zeros((3, 80, 80), np.float32)
    array[:, 60:] = 100
    with pytest.raises(InputError, match="constant"):
        cropping.crop_and_normalise(Volume(array, AFFINE), (20, 20), SETTINGS)


def test_share_of_labels_beside_the_crop_is_what_it_is_by_hand():
    labels = np.zeros((2, 80, 90), np.uint8)
    labels[1, 20:60, 10:70] = 2
    fine = Volume(labels, np.diag([0.625, 0.625, 8.0, 1.0]))
    image = Volume(np.zeros((2, 40, 45), np.float32), np.diag([1.25, 1.25, 8.0, 1.0]))
    assert cropping.left_out(fine, cropping.crop(image, (26, 20), 32, 0)) == 0
    # This crop begins at column 8 and row 14, half a pixel before their centres: at column 15 and row 27 of the labels.
    # It loses 5 of the 60 labelled columns and 7 of the 40 labelled rows.
    share = cropping.left_out(fine, cropping.crop(image, (30, 24), 32, 0))
    assert share == pytest.approx(1 - (55 / 60) * (33 / 40))
    # It ends at column 79 of the labels, half a pixel beyond the centre of its last column.
    labels[1] = 0
    labels[1, 30:50, 70:85] = 1
    assert cropping.left_out(fine, cropping.crop(image, (30, 24), 32, 0)) == pytest.approx(5 / 15)


def test_no_labels_are_left_out_where_there_are_none():
    image = Volume(np.zeros((2, 40, 40), np.float32), AFFINE)
    assert cropping.left_out(image, cropping.crop(image, (0, 0), 32, 0)) == 0
