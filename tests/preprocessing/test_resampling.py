import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cardioseg.core import volumes
from cardioseg.core.errors import InputError
from cardioseg.core.turns import TURNS
from cardioseg.core.volumes import Volume
from cardioseg.preprocessing import cropping, resampling
from cardioseg.preprocessing.resampling import interpolation_matrix


def grid(shape, spacing, origin=(0.0, 0.0, 0.0)):
    """A volume of zeros whose in-plane axes are turned by 30 degrees."""
    cosine, sine = np.cos(np.pi / 6), np.sin(np.pi / 6)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) @ np.diag(spacing[::-1])
    affine[:3, 3] = origin
    return Volume(np.zeros(shape, np.float32), affine)


def places(volume):
    """In-plane coordinates (y, x) in mm of every pixel, in the frame of the turned axes about the world's origin."""
    rows, columns = np.indices(volume.array.shape[-2:])
    points = np.stack([columns, rows, np.zeros_like(rows), np.ones_like(rows)], axis=-1) @ volume.affine.T
    cosine, sine = np.cos(np.pi / 6), np.sin(np.pi / 6)
    x, y = points[..., 0], points[..., 1]
    return -sine * x + cosine * y, cosine * x + sine * y


def disc(volume, radius, centre=(0.0, 0.0)):
    y, x = places(volume)
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2


def heart(shape, spacing, seed=0):
    """Labels (z, y, x): LV disc, MYO ring, RV disc beside them, about the middle of the field of view."""
    extent = spacing[2] * (shape[2] - 1) / 2, spacing[1] * (shape[1] - 1) / 2
    cosine, sine = np.cos(np.pi / 6), np.sin(np.pi / 6)
    origin = (-(cosine * extent[0] - sine * extent[1]), -(sine * extent[0] + cosine * extent[1]), 10.0)
    volume = grid(shape, spacing, origin)
    labels = np.zeros(shape, np.uint8)
    for z in range(shape[0]):
        scale = 1 - 0.08 * z
        labels[z][disc(volume, 18 * scale, (3.0, 33.0))] = 3
        labels[z][disc(volume, 30 * scale, (0.3, 0.2))] = 2
        labels[z][disc(volume, 20 * scale, (0.3, 0.2))] = 1
    return Volume(labels, volume.affine)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


axes = st.tuples(st.integers(1, 60), st.integers(1, 60), st.floats(0.2, 5), st.floats(-20, 60))


@given(axes)
def test_rows_sum_to_one_inside_and_zero_outside(axis):
    inputs, outputs, scale, offset = axis
    matrix = interpolation_matrix(inputs, outputs, scale, offset)
    assert matrix.shape == (outputs, inputs)
    assert matrix.dtype == np.float32
    assert (matrix >= 0).all()
    position = offset + scale * np.arange(outputs)
    edge = np.minimum(abs(position + 0.5), abs(position - inputs + 0.5))
    assume((edge > 1e-4).all())
    inside = (position > -0.5) & (position < inputs - 0.5)
    np.testing.assert_allclose(matrix.sum(axis=1), inside.astype(float), atol=1e-5)


@given(axes)
def test_interpolation_stays_within_its_samples(axis):
    inputs, outputs, scale, offset = axis
    matrix = interpolation_matrix(inputs, outputs, scale, offset)
    samples = np.random.default_rng(inputs).uniform(5, 6, inputs)
    values = (matrix @ samples)[matrix.sum(axis=1) > 0]
    assert ((values > samples.min() - 1e-4) & (values < samples.max() + 1e-4)).all()


@given(axes)
def test_finer_grid_keeps_linear_functions(axis):
    inputs, outputs, scale, offset = axis
    scale = min(scale, 1 / scale)
    position = offset + scale * np.arange(outputs)
    inside = (position >= 0) & (position <= inputs - 1)
    values = interpolation_matrix(inputs, outputs, scale, offset) @ (3.0 * np.arange(inputs) - 7)
    np.testing.assert_allclose(values[inside], (3 * position - 7)[inside], rtol=1e-4, atol=1e-3)


@given(st.integers(2, 5), st.integers(-3, 3))
def test_coarser_grid_by_a_whole_factor_keeps_linear_functions(scale, offset):
    position = offset + scale * np.arange(20)
    values = interpolation_matrix(60, 20, scale, offset) @ np.arange(60)
    inside = (position >= scale - 1) & (position <= 60 - scale)
    assert inside.any()
    np.testing.assert_allclose(values[inside], position[inside], rtol=1e-5)


def test_interpolation_on_a_few_pixels_is_what_it_is_by_hand():
    np.testing.assert_allclose(
        interpolation_matrix(3, 5, 0.5, 0.0),
        [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]],
    )
    # A triangle two pixels wide to each side: weights 1/4, 1/2, 1/4; cut off at the edge, 2/3, 1/3.
    np.testing.assert_allclose(
        interpolation_matrix(5, 3, 2.0, 0.0),
        [[2 / 3, 1 / 3, 0, 0, 0], [0, 0.25, 0.5, 0.25, 0], [0, 0, 0, 1 / 3, 2 / 3]],
        rtol=1e-6,
    )
    np.testing.assert_array_equal(interpolation_matrix(2, 4, 1.0, -1.0), [[0, 0], [1, 0], [0, 1], [0, 0]])
    np.testing.assert_array_equal(interpolation_matrix(2, 2, 2.0, -0.5), [[0.75, 0.25], [0.25, 0.75]])


def test_same_grid_is_the_identity():
    np.testing.assert_array_equal(interpolation_matrix(37, 37, 1.0, 0.0), np.eye(37))


def test_what_the_coarse_grid_cannot_show_does_not_alias():
    samples = np.cos(np.pi * np.arange(60))  # alternates from pixel to pixel
    for scale in (2.0, 2.5, 3.0):
        values = interpolation_matrix(60, int(60 / scale), scale, 0.3) @ samples
        assert abs(values[2:-2]).max() < 0.1


@pytest.mark.parametrize("spacing", [(8.0, 1.25, 1.25), (5.0, 0.74, 0.74), (12.0, 1.7, 1.6), (5.0, 0.9, 1.3)])
def test_smooth_function_is_resampled_closely(spacing):
    volume = grid((3, 90, 84), spacing, (-40.0, 12.0, 5.0))

    def function(volume):
        y, x = places(volume)
        return np.stack([np.sin(y / 11) * np.cos(x / 13) + shift for shift in range(3)])

    resampled = resampling.resample(Volume(function(volume), volume.affine), 1.25)
    assert resampled.array.dtype == np.float32
    assert resampled.spacing == pytest.approx((spacing[0], 1.25, 1.25))
    inner = (slice(None), slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(resampled.array[inner], function(resampled)[inner], atol=0.02)


@given(st.integers(32, 70), st.integers(32, 70), st.floats(0.5, 3), st.floats(0.5, 3))
def test_resampled_field_of_view_keeps_its_middle_and_extent(rows, columns, spacing, new_spacing):
    """The middle stays, the extent changes by at most half a new pixel, and constants stay constant."""
    volume = grid((2, rows, columns), (8.0, spacing, spacing), (3.0, 4.0, 5.0))
    resampled = resampling.resample(Volume(np.full(volume.array.shape, 7, np.int16), volume.affine), new_spacing)
    np.testing.assert_allclose(resampled.array, 7, rtol=1e-5)
    for old, new in zip((rows, columns), resampled.array.shape[1:], strict=True):
        assert abs(old * spacing - new * new_spacing) <= new_spacing / 2 + 1e-6
    middles = [v.affine @ [(v.array.shape[2] - 1) / 2, (v.array.shape[1] - 1) / 2, 1, 1] for v in (volume, resampled)]
    np.testing.assert_allclose(middles[0], middles[1], atol=1e-6)


def test_equal_spacing_leaves_the_image():
    volume = grid((3, 50, 44), (8.0, 1.25, 1.25), (1.0, 2.0, 3.0))
    array = np.random.default_rng(0).standard_normal(volume.array.shape).astype(np.float32)
    resampled = resampling.resample(Volume(array, volume.affine), 1.25)
    np.testing.assert_allclose(resampled.array, array, atol=1e-5)
    np.testing.assert_allclose(resampled.affine, volume.affine, atol=1e-9)


@pytest.mark.parametrize("centre", [(20, 22), (20.4, 21.6), (2, 40), (0, 0), (39, 43), (-5, 60)])
@pytest.mark.parametrize("size", [16, 17, 64])
def test_crop_has_the_images_pixels_in_their_place(centre, size):
    """Every pixel of the crop has the image's value at the same place, or the filling."""
    volume = grid((3, 40, 44), (8.0, 1.25, 1.0), (1.0, 2.0, 3.0))
    array = np.random.default_rng(0).integers(1, 1000, volume.array.shape).astype(np.int16)
    crop = cropping.crop(Volume(array, volume.affine), centre, size, -3)
    assert crop.array.shape == (3, size, size)
    assert crop.array.dtype == np.int16
    mapping = np.rint(np.linalg.inv(volume.affine) @ crop.affine).astype(int)
    np.testing.assert_allclose(volume.affine @ mapping, crop.affine, atol=1e-9)
    np.testing.assert_array_equal(mapping[:3, :3], np.eye(3))
    assert abs(mapping[1, 3] + size // 2 - centre[0]) <= 0.5
    assert abs(mapping[0, 3] + size // 2 - centre[1]) <= 0.5
    padded = np.pad(array, ((0, 0), (100, 100), (100, 100)), constant_values=-3)
    y, x = 100 + mapping[1, 3], 100 + mapping[0, 3]
    np.testing.assert_array_equal(crop.array, padded[:, y : y + size, x : x + size])


def test_crop_outside_of_the_image_is_filled():
    volume = grid((2, 40, 40), (8.0, 1.0, 1.0))
    for centre in [(500, 20), (20, -500), (-500, 500)]:
        assert (cropping.crop(volume, centre, 32, -1.0).array == -1).all()


def test_crop_keeps_all_channels():
    crop = cropping.crop(Volume(np.ones((4, 2, 40, 40), bool), np.eye(4)), (0, 0), 32, False)
    assert crop.array.shape == (4, 2, 32, 32)
    assert crop.array.sum() == 4 * 2 * 16 * 16


def there_and_back(labels, spacing_mm, size, centre=None):
    """Labels to the crop's grid and back, as the pipeline does."""
    resampled = resampling.resample(labels, spacing_mm)
    centre = centre or (resampled.array.shape[1] / 2, resampled.array.shape[2] / 2)
    crop = cropping.crop(resampled, centre, size, 0.0)
    cropped = resampling.labels_on_grid(labels, crop, 4)
    assert cropped.dtype == np.uint8
    assert cropped.shape == crop.array.shape
    maps = Volume(resampling.one_hot(cropped, 4), crop.affine)
    back = resampling.most_probable(maps, labels.array.shape, labels.affine)
    assert back.dtype == np.uint8
    return back


@pytest.mark.parametrize("size", [96, 128])
def test_labels_come_back_exactly_on_equal_pixels(size):
    labels = heart((4, 110, 104), (8.0, 1.25, 1.25))
    np.testing.assert_array_equal(there_and_back(labels, 1.25, size), labels.array)


def test_labels_are_read_onto_the_crop_of_their_image(tmp_path):
    labels = heart((4, 110, 104), (8.0, 1.25, 1.25))
    codes = {"LV": 500, "MYO": 200, "RV": 600}
    image = np.random.default_rng(0).uniform(0, 1000, labels.array.shape).astype(np.float32)
    volumes.write(tmp_path / "image.nii.gz", image, labels.affine)
    volumes.write_labels_like(tmp_path / "labels.nii.gz", labels.array, codes, tmp_path / "image.nii.gz")
    crop = cropping.crop(resampling.resample(Volume(image, labels.affine), 1.25), (55, 50), 64, 0.0)
    found = resampling.read_labels_on_grid(tmp_path / "labels.nii.gz", tmp_path / "image.nii.gz", crop, codes)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, cropping.crop(labels, (55, 50), 64, 0).array)


labels_of_a_stack = arrays(
    np.uint8, st.tuples(st.integers(1, 3), *[st.integers(32, 50)] * 2), elements=st.integers(0, 3)
)


@given(labels_of_a_stack, st.floats(0.5, 3), st.integers(8, 80), st.tuples(*[st.floats(-5, 55)] * 2))
def test_any_labels_come_back_exactly_on_equal_pixels(labels, pixel, size, centre):
    """This holds for single pixels, any place of the crop, and spacings in single precision."""
    affine = grid(labels.shape, (8.0, pixel, pixel), (-40.0, 12.0, 5.0)).affine.astype(np.float32).astype(float)
    back = there_and_back(Volume(labels, affine), float(np.linalg.norm(affine[:3, 0])), size, centre)
    inside = np.zeros(labels.shape, bool)
    rows, columns = (slice(max(0, start), max(0, start + size)) for start in (round(c) - size // 2 for c in centre))
    inside[:, rows, columns] = True
    np.testing.assert_array_equal(back, np.where(inside, labels, 0))


@pytest.mark.parametrize(
    ("spacing", "least"), [((5.0, 0.74, 0.74), 0.97), ((8.0, 1.2, 1.19), 0.97), ((12.0, 1.7, 1.6), 0.95)]
)
def test_labels_come_back_nearly_on_other_pixels(spacing, least):
    shape = (4, *(int(150 / mm) for mm in spacing[1:]))
    labels = heart(shape, spacing)
    back = there_and_back(labels, 1.25, 128)
    for label in (1, 2, 3):
        assert dice(back == label, labels.array == label) > least
        # Nothing is shifted by the way.
        middles = [np.array(np.nonzero(array == label)).mean(axis=1) for array in (back, labels.array)]
        np.testing.assert_allclose(middles[0], middles[1], atol=0.25)


def test_labels_beyond_the_crop_are_lost_and_nothing_else():
    labels = heart((4, 110, 104), (8.0, 1.25, 1.25))
    back = there_and_back(labels, 1.25, 32)
    kept = np.zeros(labels.array.shape, bool)
    kept[:, 55 - 16 : 55 + 16, 52 - 16 : 52 + 16] = True
    np.testing.assert_array_equal(back[kept], labels.array[kept])
    assert not back[~kept].any()


def test_empty_labels_stay_empty():
    labels = heart((2, 64, 64), (8.0, 1.6, 1.6))
    assert not there_and_back(Volume(np.zeros_like(labels.array), labels.affine), 1.25, 64).any()


@given(labels_of_a_stack)
def test_one_hot_maps_are_0_and_1_and_sum_to_1(labels):
    maps = resampling.one_hot(labels, 4)
    assert maps.shape == (4, *labels.shape)
    assert maps.dtype == np.float32
    assert set(np.unique(maps)) <= {0, 1}
    np.testing.assert_array_equal(maps.sum(axis=0), 1)
    np.testing.assert_array_equal(maps.argmax(axis=0), labels)


def test_probabilities_are_resampled_before_the_largest_is_taken():
    """Between a pixel of 0.9 and one of 0.2, the 0.5 line lies 4/7 of the way; labels alone would put it half-way."""
    affine = np.diag([1.0, 1.0, 8.0, 1.0])
    structure = np.array([0.9, 0.9, 0.2, 0.2])
    probabilities = np.stack([1 - structure, structure])[:, None, None, :].repeat(3, axis=2)
    fine = affine @ np.diag([0.1, 1, 1, 1])
    back = resampling.most_probable(Volume(probabilities, affine), (1, 3, 31), fine)
    assert back[0, 1].sum() == 16  # 0.0 to 1.5


def test_maps_are_interpolated_onto_a_finer_grid():
    """A ramp along x stays one, and beyond the maps is 0."""
    affine = np.diag([2.0, 2.0, 8.0, 1.0])
    ramp = np.tile(np.arange(4.0), (1, 2, 3, 1))
    fine = np.diag([1.0, 2.0, 8.0, 1.0])
    found = resampling.on_grid(Volume(ramp, affine), (2, 3, 12), fine)
    assert found.dtype == np.float32
    assert found.shape == (1, 2, 3, 12)
    np.testing.assert_allclose(found[0, 1, 2], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3, *4 * [0]])


@pytest.mark.parametrize("turn", TURNS)
def test_labels_come_back_to_a_grid_that_is_stored_another_way_round(turn):
    stored = heart((3, 60, 70), (8.0, 1.25, 1.5))
    turned = turn.apply(stored)
    assert turned.array.any()
    np.testing.assert_array_equal(resampling.labels_on_grid(turned, stored, 4), stored.array)
    np.testing.assert_array_equal(resampling.labels_on_grid(stored, turned, 4), turned.array)


def test_grids_that_do_not_share_slices():
    volume = grid((3, 40, 40), (8.0, 1.25, 1.25))
    maps = Volume(resampling.one_hot(volume.array, 2), volume.affine)
    cosine, sine = np.cos(0.1), np.sin(0.1)
    turned = volume.affine @ np.array([[cosine, -sine, 0, 0], [sine, cosine, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    moved = volume.affine + np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4.0] + [0] * 4).reshape(4, 4)
    thicker = volume.affine @ np.diag([1, 1, 1.5, 1])
    for shape, affine in [
        ((3, 40, 40), turned),
        ((3, 40, 40), moved),
        ((3, 40, 40), thicker),
        ((4, 40, 40), volume.affine),
    ]:
        with pytest.raises(InputError, match="do not share their slices"):
            resampling.most_probable(maps, shape, affine)


def test_normalise_ignores_what_is_outside():
    array = np.arange(101, dtype=np.float32).reshape(1, 1, 101)
    inside = np.ones_like(array, bool)
    inside[..., 100] = False
    array[..., 100] = 1e6  # outside: neither seen nor kept
    normalised = cropping.normalise(Volume(array, np.eye(4)), inside, (0, 100)).array
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised[0, 0, :100], np.linspace(-1, 1, 100), atol=1e-6)
    assert normalised[0, 0, 100] == -1
    clipped = cropping.normalise(Volume(array, np.eye(4)), inside, (10, 90)).array[0, 0]
    assert (clipped[:10] == -1).all()
    assert (clipped[90:100] == 1).all()
    assert clipped[49] == pytest.approx(2 * (49 - 9.9) / (89.1 - 9.9) - 1)


@given(st.floats(0.1, 1e4), st.floats(-1e3, 1e3))
def test_normalised_image_knows_neither_gain_nor_offset(gain, offset):
    array = np.random.default_rng(0).uniform(0, 1, (2, 9, 9))
    everywhere = np.ones(array.shape, bool)
    results = [
        cropping.normalise(Volume(values, np.eye(4)), everywhere, (1, 99)).array
        for values in (array, gain * array + offset)
    ]
    np.testing.assert_allclose(results[0], results[1], atol=1e-4)


def test_constant_or_absent_intensities_are_refused():
    array = np.zeros((1, 20, 20), np.float32)
    array[0, 0, 0] = 5  # a single bright pixel, above the upper percentile
    with pytest.raises(InputError, match=r"constant between percentiles \(1, 99\)"):
        cropping.normalise(Volume(array, np.eye(4)), np.ones(array.shape, bool), (1, 99))
    with pytest.raises(InputError, match="outside of the image"):
        cropping.normalise(Volume(array, np.eye(4)), np.zeros(array.shape, bool), (1, 99))
