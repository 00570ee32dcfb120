import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.evaluation.metrics import dice
from cardioseg.inference import postprocessing, raw_labels
from cardioseg.inference.postprocessing import Crf, Morphology, dense_crf, smooth

CAVITY, WALL, OTHER = 1, 2, 3
ORDER = (WALL, CAVITY)
SPACING = (5.0, 1.25, 1.25)
SETTINGS = {
    "iterations": 5,
    "gaussian_mm": 2.0,
    "gaussian_compat": 2.0,
    "bilateral_mm": 8.0,
    "bilateral_intensity": 0.1,
    "bilateral_compat": 4.0,
}


def crf(image, probabilities, spacing=SPACING, **settings):
    return dense_crf(image, probabilities, spacing, Crf(**{**SETTINGS, **settings}))


def random_probabilities(shape, seed=0):
    logits = np.random.default_rng(seed).standard_normal(shape)
    return (np.exp(logits) / np.exp(logits).sum(axis=0)).astype(np.float32)


@pytest.fixture(scope="module")
def noisy_disc():
    """A bright disc in a slice that is not square, and its probabilities with a ragged border and salt noise."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:48, :72]
    truth = np.hypot(y - 24, x - 40) < 15
    image = np.where(truth, 0.6, -0.4) + 0.05 * rng.standard_normal(truth.shape)
    ragged = ndimage.gaussian_filter(rng.standard_normal(truth.shape), 1.5) * 18 + 15 > np.hypot(y - 24, x - 40)
    foreground = np.where(ragged ^ (rng.random(truth.shape) < 0.05), 0.7, 0.3)
    foreground[np.hypot(y - 24, x - 40) > 23] = 0
    probabilities = np.stack([1 - foreground, foreground])[:, np.newaxis].astype(np.float32)
    return image[np.newaxis], probabilities, truth[np.newaxis]


def test_crf_snaps_to_the_edge(noisy_disc):
    image, probabilities, truth = noisy_disc
    before = dice(probabilities[1] > 0.5, truth)
    after = dice(crf(image, probabilities)[1] > 0.5, truth)
    assert before < 0.9
    assert after > 0.98


def test_crf_marginals_sum_to_one_and_repeat(noisy_disc):
    image, probabilities, _ = noisy_disc
    copy = probabilities.copy()
    marginals = crf(image, probabilities)
    assert marginals.shape == probabilities.shape
    assert marginals.dtype == np.float32
    np.testing.assert_allclose(marginals.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(marginals, crf(image, probabilities))
    np.testing.assert_array_equal(probabilities, copy)


@settings(max_examples=40)
@given(arrays(np.float32, (4, 2, 6, 7), elements=st.floats(0, 1, width=32)), st.integers(0, 2**32))
def test_crf_gives_probabilities_and_no_class_that_was_impossible(weights, seed):
    weights[0] += np.float32(0.01)
    weights[CAVITY] = 0
    probabilities = weights / weights.sum(axis=0)
    refined = crf(np.random.default_rng(seed).uniform(-1, 1, (2, 6, 7)), probabilities)
    assert refined.min() >= 0
    np.testing.assert_allclose(refined.sum(axis=0), 1, atol=1e-5)
    assert not (refined.argmax(axis=0) == CAVITY).any()
    certain = (np.arange(4)[:, None, None, None] == probabilities.argmax(axis=0)).astype(np.float32)
    labels = crf(np.zeros((2, 6, 7)), certain).argmax(axis=0)
    assert set(np.unique(labels)) <= set(np.unique(certain.argmax(axis=0)))


@pytest.mark.parametrize("change", [{"iterations": 0}, {"gaussian_compat": 0, "bilateral_compat": 0}])
def test_crf_without_effect_changes_nothing(change):
    probabilities = random_probabilities((4, 2, 9, 11))
    image = np.random.default_rng(1).uniform(-1, 1, (2, 9, 11))
    np.testing.assert_allclose(crf(image, probabilities, **change), probabilities, atol=1e-5)


def mean_field(image, probabilities, spacing, settings):
    """The same CRF on one slice (y, x) with exact kernels: slow, for small slices."""
    position = np.stack([axis * size for axis, size in zip(np.indices(image.shape), spacing, strict=True)], axis=-1)
    position = position.reshape(-1, 2)

    def kernel(features):
        weights = np.exp(-0.5 * ((features[:, np.newaxis] - features[np.newaxis]) ** 2).sum(axis=-1))
        norm = 1 / np.sqrt(weights.sum(axis=1))
        return norm[:, np.newaxis] * weights * norm

    appearance = np.column_stack([position / settings["bilateral_mm"], image.ravel() / settings["bilateral_intensity"]])
    pairwise = settings["gaussian_compat"] * kernel(position / settings["gaussian_mm"])
    pairwise += settings["bilateral_compat"] * kernel(appearance)
    unary = np.log(probabilities.reshape(len(probabilities), -1).astype(float))
    marginals = np.exp(unary)
    for _ in range(settings["iterations"]):
        marginals = np.exp(unary + marginals @ pairwise)
        marginals /= marginals.sum(axis=0)
    return marginals.reshape(probabilities.shape)


@pytest.mark.parametrize(("gaussian_compat", "bilateral_compat"), [(1.0, 0.0), (0.0, 1.5), (1.0, 1.5)])
def test_crf_agrees_with_exact_mean_field(gaussian_compat, bilateral_compat):
    spacing = (5.0, 0.5, 2.0)
    settings = {
        "iterations": 3,
        "gaussian_mm": 2.0,
        "gaussian_compat": gaussian_compat,
        "bilateral_mm": 4.0,
        "bilateral_intensity": 0.2,
        "bilateral_compat": bilateral_compat,
    }
    rng = np.random.default_rng(5)
    truth = np.zeros((24, 17), dtype=int)
    truth[5:15, 4:12] = 1
    truth[15:20, 4:12] = 2
    image = np.array([-0.5, 0.6, 0.0])[truth] + 0.05 * rng.standard_normal(truth.shape)
    probabilities = np.stack([(truth == label) * 1.0 for label in range(3)]) + rng.random((3, *truth.shape))
    probabilities = (probabilities / probabilities.sum(axis=0)).astype(np.float32)
    exact = mean_field(image, probabilities, spacing[1:], settings)
    filtered = crf(image[np.newaxis], probabilities[:, np.newaxis], spacing, **settings)[:, 0]
    error = np.abs(filtered - exact)
    change = np.abs(probabilities - exact)
    # The library's kernels are approximate (permutohedral lattice).
    assert error.mean() < 0.03 * change.mean()


def test_crf_widths_are_in_mm(noisy_disc):
    image, probabilities, _ = noisy_disc
    reference = crf(image, probabilities, (5.0, 1.0, 1.5))
    doubled = crf(image, probabilities, (9.0, 2.0, 3.0), gaussian_mm=4.0, bilateral_mm=16.0)
    np.testing.assert_array_equal(reference, doubled)
    assert not np.array_equal(reference, crf(image, probabilities, (5.0, 1.5, 1.0)))


def test_crf_works_slice_by_slice():
    probabilities = random_probabilities((3, 2, 12, 14))
    image = np.random.default_rng(2).uniform(-1, 1, (2, 12, 14))
    together = crf(image, probabilities)
    for z in range(2):
        np.testing.assert_array_equal(together[:, z : z + 1], crf(image[z : z + 1], probabilities[:, z : z + 1]))


def test_crf_takes_arrays_of_any_layout():
    probabilities = random_probabilities((3, 2, 12, 14))
    image = np.random.default_rng(2).uniform(-1, 1, (2, 12, 14))
    expected = crf(image, probabilities)
    np.testing.assert_array_equal(crf(np.asfortranarray(image), np.asfortranarray(probabilities)), expected)
    classes_last = np.moveaxis(np.ascontiguousarray(np.moveaxis(probabilities, 0, -1)), -1, 0)
    np.testing.assert_array_equal(crf(image, classes_last), expected)


def test_crf_leaves_out_slices_of_certain_background(monkeypatch):
    rng = np.random.default_rng(4)
    foreground = rng.uniform(0, 0.009, (2, 1, 16, 16))
    probabilities = np.concatenate([1 - foreground.sum(axis=0, keepdims=True) / 2, foreground / 2]).astype(np.float32)
    image = rng.uniform(-1, 1, (1, 16, 16))
    np.testing.assert_array_equal(crf(image, probabilities), probabilities)
    uncertain = probabilities.copy()
    uncertain[:, 0, 5, 5] = 0.4, 0.6, 0
    assert uncertain[0].mean() > postprocessing.CERTAIN  # yet one pixel is not certain
    assert not np.array_equal(crf(image, uncertain), uncertain)
    monkeypatch.setattr(postprocessing, "CERTAIN", 2.0)
    marginals = crf(image, probabilities)
    assert not np.array_equal(marginals, probabilities)
    assert (marginals.argmax(axis=0) == 0).all()


def test_crf_refuses_what_it_cannot_use():
    image, probabilities = np.zeros((1, 4, 5)), random_probabilities((3, 1, 4, 5))
    spoiled = np.where(np.arange(5) == 2, np.nan, image)
    for arguments, message in [
        ((np.zeros((1, 5, 4)), probabilities), "grid"),
        ((image[0], probabilities[:, 0]), "grid"),
        ((spoiled, probabilities), "finite"),
        ((image, probabilities * np.nan), "sum to 1"),
        ((image, 2 * probabilities), "sum to 1"),
        ((image, probabilities, (0.0, 1.0, 1.0)), "spacing"),
    ]:
        with pytest.raises(InputError, match=message):
            crf(*arguments)
    for name, value in [
        ("iterations", -1),
        ("gaussian_mm", 0.0),
        ("gaussian_compat", -1.0),
        ("bilateral_mm", math.inf),
        ("bilateral_intensity", math.nan),
        ("bilateral_compat", math.nan),
    ]:
        with pytest.raises(InputError, match=name):
            crf(image, probabilities, **{name: value})


def close(labels, radius_mm, spacing=(1.0, 1.0, 1.0), order=(), keep_largest=False):
    return smooth(labels, spacing, Morphology(radius_mm, order, keep_largest))


def ball(radius, size=31):
    grid = np.indices((size, size, size)) - size // 2
    return ((grid**2).sum(axis=0) <= radius**2).astype(np.uint8)


def ring(shape=(3, 41, 41), inner=8, outer=13):
    """A cavity within a wall, the same in each slice."""
    y, x = np.indices(shape[1:])
    distance = np.hypot(y - shape[1] // 2, x - shape[2] // 2)
    labels = np.select([distance <= inner, distance <= outer], [CAVITY, WALL], 0).astype(np.uint8)
    return np.repeat(labels[np.newaxis], shape[0], axis=0)


def test_hole_in_a_ball_is_filled():
    whole = ball(10)
    holed = whole.copy()
    holed[14:17, 14:17, 14:17] = 0
    np.testing.assert_array_equal(close(holed, (3, 3, 3)), whole)


def test_notch_is_filled_and_a_wide_gap_stays():
    block = np.zeros((5, 30, 30), dtype=np.uint8)
    block[:, 5:25, 5:25] = 1
    notched = block.copy()
    notched[:, 5:12, 10:12] = 0
    filled = close(notched, (0, 3, 3))
    # A disc does not reach the corners of the block, which were never cut, but rounds the mouth of the notch.
    assert filled[:, 8:25, 5:25].all()
    assert not (filled & ~block).any()
    wide = block.copy()
    wide[:, 5:12, 8:20] = 0
    assert (close(wide, (0, 3, 3))[:, 5:9, 13:15] == 0).all()


@settings(deadline=None, max_examples=50)
@given(
    arrays(np.uint8, (4, 8, 7), elements=st.integers(0, 1)),
    st.tuples(*[st.sampled_from([0.0, 1.0, 1.5, 2.5, 5.0])] * 3),
    st.sampled_from([(1.0, 1.0, 1.0), (5.0, 0.75, 1.25)]),
)
def test_union_is_the_closing_by_an_ellipsoid(labels, radius_mm, spacing):
    reach = [int(radius / size + 1e-9) for radius, size in zip(radius_mm, spacing, strict=True)]
    offsets = np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij")
    terms = [(o * s / max(r, 1e-9)) ** 2 for o, s, r in zip(offsets, spacing, radius_mm, strict=True)]
    padded = np.pad(labels, 8).astype(bool)
    expected = ndimage.binary_closing(padded, sum(terms) <= 1 + 1e-9)[8:-8, 8:-8, 8:-8]
    np.testing.assert_array_equal(close(labels, radius_mm, spacing) > 0, expected)


def test_added_voxels_take_the_nearest_label_in_mm():
    labels = np.zeros((3, 1, 6), dtype=np.uint8)
    labels[:, 0, 0] = CAVITY
    labels[:, 0, 5] = WALL
    np.testing.assert_array_equal(close(labels, (0, 0, 3))[1, 0], [1, 1, 1, 2, 2, 2])
    # One voxel up is 5 mm off, two along x are 2 mm: the nearest is not the nearest in voxels.
    labels = np.zeros((3, 1, 5), dtype=np.uint8)
    labels[[0, 2], 0, :] = OTHER
    labels[1, 0, [0, 4]] = CAVITY
    assert (close(labels, (5, 0, 0), (5.0, 1.0, 1.0))[1, 0] == CAVITY).all()


def test_island_is_removed_only_on_demand():
    labels = np.zeros((6, 30, 30), dtype=np.uint8)
    labels[1:5, 5:15, 5:15] = WALL
    labels[2, 25, 25] = OTHER
    labels[5, 15, 15] = OTHER  # touches the wall by a corner only
    kept = close(labels, (0, 0, 0), keep_largest=True)
    np.testing.assert_array_equal(kept, np.where(labels == WALL, labels, 0))
    np.testing.assert_array_equal(close(labels, (0, 0, 0)), labels)


def test_largest_component_is_that_of_the_union():
    # The wall alone is larger in pieces; together with what it encloses it is one structure.
    labels = ring()
    labels[:, 20:22] = np.where(labels[:, 20:22] == WALL, OTHER, labels[:, 20:22])
    np.testing.assert_array_equal(close(labels, (0, 0, 0), keep_largest=True), labels)


def test_wall_does_not_swallow_a_small_cavity():
    labels = ring(inner=2, outer=9)
    np.testing.assert_array_equal(close(labels, (5, 6, 6), order=ORDER), labels)


def test_cavity_takes_wall_within_its_closing():
    labels = ring()
    labels[1, 20, 12:22] = WALL  # a muscle one voxel thin across half of the cavity
    smoothed = close(labels, (0, 3, 3), order=ORDER)
    # The mouth of the notch is rounded; behind it the cavity is whole again.
    assert (smoothed[1, 20, 14:22] == CAVITY).all()
    np.testing.assert_array_equal(np.delete(smoothed[1], 20, axis=0), np.delete(labels[1], 20, axis=0))
    assert (close(labels, (0, 3, 3), order=(WALL,))[1, 20, 12:22] == WALL).all()


def test_settings_have_classes_in_place_of_names():
    section = {
        "crf": SETTINGS,
        "morphology": {"radius_mm": [0, 3, 3], "order": ["wall", "cavity"], "keep_largest": False},
    }
    settings = postprocessing.Settings.of(section, ["cavity", "wall", "other"])
    assert settings == postprocessing.Settings(Crf(**SETTINGS), Morphology((0, 3, 3), (WALL, CAVITY), False))


def test_parts_are_the_crf_and_the_morphology_after_one_another(noisy_disc):
    image, probabilities, _ = noisy_disc
    affine = np.diag([1.25, 1.25, 5.0, 1.0])
    settings = postprocessing.Settings(Crf(**SETTINGS), Morphology((0, 3, 3), (1,), True))
    crop = Volume(image.astype(np.float32), affine)
    found = postprocessing.postprocess(Volume(probabilities, affine), crop, crop, settings, postprocessing.PARTS)
    refined = crf(image, probabilities).argmax(axis=0).astype(np.uint8)
    raw = probabilities.argmax(axis=0).astype(np.uint8)
    np.testing.assert_array_equal(found["crf"], refined)
    np.testing.assert_array_equal(found["morphology"], smooth(raw, SPACING, settings.morphology))
    np.testing.assert_array_equal(found["both"], smooth(refined, SPACING, settings.morphology))
    assert (found["crf"] != found["morphology"]).any()


def test_morphology_is_in_mm_of_the_raw_image(noisy_disc):
    image, probabilities, _ = noisy_disc
    affine = np.diag([1.25, 1.25, 5.0, 1.0])
    crop, shape = Volume(image.astype(np.float32), affine), np.multiply(image.shape, (1, 2, 2))
    raw = Volume(np.zeros(shape, np.float32), affine @ np.diag([0.5, 0.5, 1, 1]))
    settings = postprocessing.Settings(Crf(**SETTINGS), Morphology((0, 3, 3), (1,), True))
    found = postprocessing.postprocess(Volume(probabilities, affine), crop, raw, settings, ["morphology"])["morphology"]
    labels = raw_labels.on_raw_grid(Volume(probabilities, affine), raw)
    np.testing.assert_array_equal(found, smooth(labels, (5.0, 0.625, 0.625), settings.morphology))
    assert not np.array_equal(found, smooth(labels, crop.spacing, settings.morphology))


def test_wall_takes_the_other_structure_within_its_closing():
    labels = ring()
    labels[1, 20, 29:34] = OTHER  # pokes one voxel thin through the wall
    smoothed = close(labels, (0, 3, 3), order=ORDER)
    assert (smoothed[1, 20, 29:32] == WALL).all()
    np.testing.assert_array_equal(np.delete(smoothed[1], 20, axis=0), np.delete(labels[1], 20, axis=0))
    np.testing.assert_array_equal(close(labels, (0, 3, 3), order=(CAVITY,)), labels)


@pytest.mark.parametrize("thickness", [1, 2, 3])
def test_cavity_stops_at_the_last_layer_of_the_wall(thickness):
    # Cavity | wall | other structure; the middle slice is shifted, so that the cavity's closing along z would run over
    # the whole wall and into the other structure.
    labels = np.full((3, 20, 20), OTHER, dtype=np.uint8)
    for z, start in enumerate((14, 10, 14)):
        labels[z, :, :start] = CAVITY
        labels[z, :, start : start + thickness] = WALL
    smoothed = close(labels, (5, 0, 0), (5.0, 1.0, 1.0), order=ORDER)
    expected = [CAVITY] * (10 + thickness - 1) + [WALL] + [OTHER] * (4 - thickness)
    assert (smoothed[1, 1:-1, :14] == expected).all()
    assert not touches_in_slice(smoothed, CAVITY, (0, OTHER))


def touches_in_slice(labels, label, others):
    neighbours = ndimage.binary_dilation(labels == label, ndimage.generate_binary_structure(2, 1)[np.newaxis])
    return bool((neighbours & np.isin(labels, others)).any())


label_maps = arrays(np.uint8, (3, 9, 8), elements=st.integers(0, 3))
# Runs of equal labels, which are closer to anatomy than noise.
coarse_maps = arrays(np.uint8, (2, 4, 4), elements=st.integers(0, 3)).map(
    lambda labels: labels.repeat(3, axis=1).repeat(3, axis=2)
)
radii = st.tuples(*[st.sampled_from([0.0, 1.25, 2.5, 4.0, 8.0])] * 3)
orders = st.permutations([1, 2, 3]).flatmap(lambda order: st.integers(0, 3).map(lambda count: tuple(order[:count])))


@settings(deadline=None, max_examples=150)
@given(label_maps | coarse_maps, radii, orders)
def test_closing_keeps_what_is_labelled_and_is_stable(labels, radius_mm, order):
    copy = labels.copy()
    smoothed = close(labels, radius_mm, SPACING, order)
    np.testing.assert_array_equal(labels, copy)
    assert smoothed.dtype == labels.dtype
    assert smoothed.shape == labels.shape
    assert set(np.unique(smoothed)) <= set(np.unique(labels))
    assert (smoothed[labels > 0] > 0).all()
    np.testing.assert_array_equal(close(smoothed, radius_mm, SPACING, order), smoothed)
    if order:  # the last is the one from which nothing can be taken
        assert (smoothed[labels == order[-1]] == order[-1]).all()


@settings(deadline=None, max_examples=150)
@given(label_maps | coarse_maps, radii)
def test_cavity_grows_only_within_the_wall(labels, radius_mm):
    union_closed = close(labels, radius_mm, SPACING, ())
    smoothed = close(labels, radius_mm, SPACING, ORDER)
    np.testing.assert_array_equal(smoothed > 0, union_closed > 0)
    grown = (smoothed == CAVITY) & (union_closed != CAVITY)
    beside_grown = ndimage.binary_dilation(grown, ndimage.generate_binary_structure(2, 1)[np.newaxis])
    assert np.isin(smoothed[beside_grown], ORDER).all()


@settings(deadline=None, max_examples=60)
@given(label_maps | coarse_maps, radii)
def test_largest_component_is_all_that_is_kept(labels, radius_mm):
    every = smooth(labels, SPACING, Morphology(radius_mm, ORDER, False))
    kept = smooth(labels, SPACING, Morphology(radius_mm, ORDER, True))
    assert set(np.unique(kept)) <= {0, *np.unique(labels)}
    assert not (kept > 0)[every == 0].any()
    components, count = ndimage.label(every > 0)
    assert ndimage.label(kept > 0)[1] == min(count, 1)
    assert np.count_nonzero(kept) == max(np.bincount(components.ravel(), minlength=2)[1:])


def test_label_nearest_to_what_the_closing_adds_counts_even_if_its_piece_goes():
    """The gap is nearer to the lone pixel, which is smaller than the rest, than to the piece it closes."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        labels = (rng.random((2, 9, 9)) < 0.25) * rng.integers(1, 4, (2, 9, 9))
        every = smooth(labels.astype(np.uint8), SPACING, Morphology((0, 2.5, 2.5), ORDER, False))
        kept = smooth(labels.astype(np.uint8), SPACING, Morphology((0, 2.5, 2.5), ORDER, True))
        sizes = np.bincount(ndimage.label(every > 0)[0].ravel(), minlength=2)[1:]
        assert np.count_nonzero(kept) == max(sizes)


@settings(deadline=None, max_examples=30)
@given(arrays(np.uint8, (3, 6, 6), elements=st.integers(0, 3)))
def test_radius_below_a_voxel_changes_nothing(labels):
    np.testing.assert_array_equal(close(labels, (4.9, 1.2, 1.2), SPACING, ORDER), labels)


def test_closing_leaves_an_axis_with_a_radius_below_a_voxel():
    labels = np.zeros((3, 9, 9), dtype=np.uint8)
    labels[[0, 2]] = 1
    np.testing.assert_array_equal(close(labels, (4.9, 3, 3), SPACING), labels)
    assert close(labels, (5, 0, 0), SPACING).all()


def test_structures_at_the_edge_stay():
    labels = np.zeros((2, 10, 10), dtype=np.uint8)
    labels[:, :4, :] = 1
    labels[:, 1, 3:5] = 0
    smoothed = close(labels, (0, 4, 4), SPACING)
    assert smoothed[:, :4].all()
    assert not smoothed[:, 4:].any()


def test_single_slice_and_empty_mask_are_smoothed():
    labels = ring((1, 41, 41))
    labels[0, 20, 30] = 0
    np.testing.assert_array_equal(close(labels, (4, 4, 4), SPACING, ORDER), ring((1, 41, 41)))
    # Reaching for slices that are not there, the ellipsoid enters any hole from outside.
    np.testing.assert_array_equal(close(labels, (10, 4, 4), SPACING, ORDER), labels)
    empty = np.zeros((2, 5, 5), dtype=np.uint8)
    np.testing.assert_array_equal(close(empty, (5, 3, 3), SPACING, ORDER, keep_largest=True), empty)


@pytest.mark.parametrize(
    ("labels", "spacing", "radius_mm", "order", "message"),
    [
        (np.zeros((4, 4), int), SPACING, (1, 1, 1), ORDER, "label map"),
        (np.zeros((1, 4, 4)), SPACING, (1, 1, 1), ORDER, "integers"),
        (np.full((1, 4, 4), -1), SPACING, (1, 1, 1), ORDER, "from 0"),
        (np.zeros((1, 4, 4), int), (1.0, -1.0, 1.0), (1, 1, 1), ORDER, "spacing"),
        (np.zeros((1, 4, 4), int), SPACING, (1, -1, 1), ORDER, "radius"),
        (np.zeros((1, 4, 4), int), SPACING, (1, math.inf, 1), ORDER, "radius"),
        (np.zeros((1, 4, 4), int), SPACING, (1, 1), ORDER, "radius"),
        (np.zeros((1, 4, 4), int), SPACING, (1, 1, 1), (2, 2), "order"),
        (np.zeros((1, 4, 4), int), SPACING, (1, 1, 1), (0, 1), "order"),
    ],
)
def test_smoothing_refuses_what_it_cannot_use(labels, spacing, radius_mm, order, message):
    with pytest.raises(InputError, match=message):
        close(labels, radius_mm, spacing, order)
