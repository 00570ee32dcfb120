import numpy as np
import pytest

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.preprocessing import bias_field, resampling

CORRECTION = {"shrink": 2, "iterations": [30, 30]}
AFFINE = np.diag([-3.0, 3.0, 10.0, 1.0])


def phantom(slices=4):
    """A body with a bright and a dark disc in it, and air around; where the body is."""
    y, x = np.mgrid[:80, :96]
    body = np.hypot((y - 40) / 36, (x - 48) / 44) < 1
    image = np.where(body, 200.0, 2.0)
    image[np.hypot(y - 36, x - 40) < 9] = 300
    image[np.hypot(y - 50, x - 64) < 7] = 120
    stack = np.stack([image] * slices) + np.random.default_rng(0).normal(0, 2, (slices, *image.shape))
    return Volume(stack.astype(np.float32), AFFINE, ("a note",)), np.stack([body] * slices)


def shading():
    """A smooth field of 0.5 to 2."""
    y, x = np.mgrid[-1:1:80j, -1:1:96j]
    return np.exp(np.log(2) * (0.7 * x + 0.3 * y)).astype(np.float32)


def unevenness(image, reference, inside):
    """Standard deviation of the logarithm of the ratio of two images."""
    return float(np.log(image[inside] / reference[inside]).std())


def test_a_smooth_field_is_removed():
    image, body = phantom()
    shaded = Volume(image.array * shading(), AFFINE)
    corrected = bias_field.correct(shaded, **CORRECTION)
    assert unevenness(shaded.array, image.array, body) > 0.2
    assert unevenness(corrected.array, image.array, body) < 0.05


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_geometry_is_kept_however_thin_the_stack(slices):
    image, body = phantom(slices)
    corrected = bias_field.correct(Volume(image.array * shading(), AFFINE, image.notes), **CORRECTION)
    assert corrected.array.shape == image.array.shape
    assert corrected.array.dtype == np.float32
    np.testing.assert_array_equal(corrected.affine, AFFINE)
    assert corrected.notes == image.notes
    assert unevenness(corrected.array, image.array, body) < 0.05


@pytest.mark.parametrize(("own", "four"), [([0], "0[0]00"), ([0, 1], "0[01]1"), ([0, 1, 2], "[012]2")])
def test_a_thin_stack_is_continued_to_four_slices_by_its_outer_ones(own, four):
    different = phantom()[0].array * np.float32([1, 1.2, 0.8, 1])[:, None, None] * shading()
    continued, first = [int(character) for character in four if character.isdigit()], four.index("[")
    thin, thick = (bias_field.correct(Volume(different[slices], AFFINE), 4, [5]).array for slices in (own, continued))
    np.testing.assert_array_equal(thin, thick[first : first + len(own)])


def test_a_stack_of_four_slices_is_not_continued(monkeypatch):
    image, _ = phantom()
    expected = bias_field.correct(image, 4, [5]).array
    monkeypatch.setattr(np, "pad", lambda array, *_, **__: array)
    np.testing.assert_array_equal(bias_field.correct(image, 4, [5]).array, expected)


def test_the_same_image_gives_the_same_result():
    image, _ = phantom()
    first, second = (bias_field.correct(image, **CORRECTION).array for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_an_image_too_small_for_the_estimate_is_refused():
    image = Volume(np.zeros((1, 4, 4), np.float32), AFFINE)
    with pytest.raises(InputError, match="bias_field_correction: null"):
        bias_field.correct(image, shrink=4, iterations=[10])


def test_the_correction_comes_before_resampling_and_is_off_by_default():
    image, _ = phantom()
    settings = {"spacing_mm": 4.0, "bias_field_correction": None}
    np.testing.assert_array_equal(
        resampling.to_common_pixels(image, settings).array, resampling.resample(image, 4.0).array
    )
    expected = resampling.resample(bias_field.correct(image, **CORRECTION), 4.0)
    found = resampling.to_common_pixels(image, settings | {"bias_field_correction": CORRECTION})
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_array_equal(found.affine, expected.affine)
