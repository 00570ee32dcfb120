import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.inference import postprocessing
from cardioseg.inference.fusion import carry, fuse, predicted_labels

AFFINE = np.diag([1.5, 1.5, 8.0, 1.0])
SHARP = {"weight": 0.25, "blur_mm": (0, 0, 0), "least_agreement": 0, "least_area": 0}


def probabilities(seed=0, classes=3, shape=(3, 12, 14)):
    maps = np.random.default_rng(seed).random((classes, *shape)).astype(np.float32)
    return Volume(maps / maps.sum(axis=0), AFFINE)


def witness(shape=(3, 12, 14), affine=AFFINE):
    labels = np.zeros(shape, np.uint8)
    labels[:2, 4:8, 4:8] = 1
    labels[1, 8:10, 4:8] = 2
    return Volume(labels, affine)


def test_sharp_labels_count_by_their_weight():
    networks, labels = probabilities(), witness()
    fused, *_ = fuse(networks, labels, SHARP)
    sure = (labels.array[None] == np.arange(3).reshape(-1, 1, 1, 1)).astype(float)
    np.testing.assert_allclose(fused[:, :2], (0.75 * networks.array + 0.25 * sure)[:, :2], atol=1e-6)


def test_slices_without_source_labels_keep_the_networks_probabilities():
    networks = probabilities()
    np.testing.assert_array_equal(fuse(networks, witness(), SHARP | {"weight": 1})[0][:, 2], networks.array[:, 2])


@given(st.floats(0, 1), st.tuples(*[st.floats(0, 12)] * 3), st.integers(0, 100))
def test_fused_probabilities_sum_to_1(weight, blur_mm, seed):
    fused, *_ = fuse(probabilities(seed), witness(), SHARP | {"weight": weight, "blur_mm": blur_mm})
    assert fused.dtype == np.float32 and fused.min() >= 0
    np.testing.assert_allclose(fused.sum(axis=0), 1, atol=1e-5)


def test_no_probability_is_negative_where_structures_alone_meet():
    """There rounding makes their sum greater than 1, and post-processing takes no negative background."""
    labels = Volume(np.random.default_rng(0).integers(1, 4, (3, 41, 41)).astype(np.uint8), AFFINE)
    fused, *_ = fuse(
        probabilities(classes=4, shape=(3, 41, 41)), labels, SHARP | {"weight": 1, "blur_mm": (5, 2.25, 2.25)}
    )
    assert fused.min() >= 0


def test_a_blur_within_slices_is_in_mm():
    labels = Volume(np.zeros((3, 41, 41), np.uint8), AFFINE)
    labels.array[1, :, 20:] = 1
    labels.array[0, 0, 0] = 1
    fused, *_ = fuse(probabilities(shape=(3, 41, 41)), labels, SHARP | {"weight": 1, "blur_mm": (0, 3, 3)})
    # A step blurred by 3 mm, which are two pixels: half a pixel inside of it, and two and a half.
    np.testing.assert_allclose(fused[1, 1, 20, [20, 22]], [0.5987, 0.8944], atol=0.01)
    assert fused[1, 0, 20].max() == 0


def test_a_blur_across_slices_leaves_out_those_that_the_labels_do_not_reach():
    labels = witness()
    fused, *_ = fuse(probabilities(), labels, SHARP | {"weight": 1, "blur_mm": (8, 0, 0)})
    # Slices 0 and 1 are reached, 8 mm apart; structure 2 is in slice 1 alone.
    neighbour = np.exp(-0.5)
    share = neighbour / (1 + neighbour)
    np.testing.assert_allclose(fused[1, :2, 5, 5], 1, atol=1e-5)
    np.testing.assert_allclose(fused[2, :2, 9, 5], [share, 1 - share], atol=1e-3)
    np.testing.assert_array_equal(fused[:, 2], probabilities().array[:, 2])


def test_labels_of_another_resolution_are_taken_in_their_place():
    affine = np.diag([0.75, 0.75, 8.0, 1.0])
    affine[:2, 3] = -0.375
    fine = Volume(witness().array.repeat(2, axis=1).repeat(2, axis=2), affine)
    np.testing.assert_allclose(
        fuse(probabilities(), fine, SHARP)[0].argmax(axis=0)[:, 5:7, 5:7],
        fuse(probabilities(), witness(), SHARP)[0].argmax(axis=0)[:, 5:7, 5:7],
    )


def test_labels_that_agree_too_little_are_left_out():
    sure = np.zeros((3, 3, 12, 14), np.float32)
    sure[1, :2, 4:8, 6:10] = 1  # half of structure 1: Dice 0.5 in the slices that the labels reach
    sure[2, 1:, 8:10, 4:8] = 1  # structure 2 as labelled, and where the labels do not reach
    sure[0] = 1 - sure.sum(axis=0)
    networks = Volume(sure, AFFINE)
    fused, agreement, used = fuse(networks, witness(), SHARP | {"least_agreement": 0.76})
    assert agreement == pytest.approx((0.5 + 1) / 2)
    assert not used
    np.testing.assert_array_equal(fused, sure)
    fused, same, used = fuse(networks, witness(), SHARP | {"least_agreement": 0.74})
    assert (same, used) == (agreement, True)
    assert not np.array_equal(fused, sure)


def stack(*areas, structure=1):
    """Masks of 12 x 14 pixels with so many pixels of a structure in each slice."""
    labels = np.zeros((len(areas), 168), np.uint8)
    for pixels, area in zip(labels, areas, strict=True):
        pixels[:area] = structure
    return labels.reshape(-1, 12, 14)


def sure_of(labels):
    return Volume((labels == np.arange(3).reshape(-1, 1, 1, 1)).astype(np.float32), AFFINE)


def test_end_slices_that_the_labels_hardly_reach_lie_beyond_the_heart():
    networks, labels = sure_of(stack(20, 50, 0, 60, 50, 15)), Volume(stack(1, 50, 20, 0, 50, 0), AFFINE)
    fused, *_ = fuse(networks, labels, SHARP | {"least_area": 0.1})
    assert (fused.argmax(axis=0) > 0).sum(axis=(1, 2)).tolist() == [0, 50, 0, 60, 50, 0]
    np.testing.assert_array_equal(fused[0, [0, 5]], 1)
    np.testing.assert_allclose(fused.sum(axis=0), 1)


def test_ends_stay_where_the_labels_leave_out_too_much_of_the_heart():
    networks = sure_of(stack(30, 40, 40, 40, 40))
    for areas, kept in [((0, 40, 40, 40, 40), [0, 40, 40, 40, 40]), ((0, 0, 40, 40, 40), [30, 40, 40, 40, 40])]:
        fused, *_ = fuse(networks, Volume(stack(*areas), AFFINE), SHARP | {"least_area": 0.1})
        assert (fused.argmax(axis=0) > 0).sum(axis=(1, 2)).tolist() == kept


@pytest.mark.parametrize(("end", "kept"), [(39, 0), (41, 41)])
def test_ends_hold_a_fifth_of_the_heart_at_most(end, kept):
    fused, *_ = fuse(
        sure_of(stack(end, 40, 40, 40, 40)), Volume(stack(0, 40, 40, 40, 40), AFFINE), SHARP | {"least_area": 0.1}
    )
    assert np.count_nonzero(fused.argmax(axis=0)[0]) == kept


@pytest.mark.parametrize(("least_area", "kept"), [(0, [5, 50, 5]), (0.1, [0, 50, 0])])
def test_ends_stay_where_no_area_is_asked_for(least_area, kept):
    fused, *_ = fuse(sure_of(stack(5, 50, 5)), Volume(stack(0, 50, 0), AFFINE), SHARP | {"least_area": least_area})
    assert (fused.argmax(axis=0) > 0).sum(axis=(1, 2)).tolist() == kept


def test_labels_that_agree_as_much_as_is_asked_for_are_used():
    fused = fuse(sure_of(stack(20, 50)), Volume(stack(20, 50), AFFINE), SHARP | {"least_agreement": 1})
    assert (fused.agreement, fused.used) == (1, True)


def test_end_slices_with_enough_labels_and_stacks_without_labels_stay():
    networks = sure_of(stack(40, 50, 40))
    drawn = [40, 50, 40]
    for areas, settings in [
        ((5, 50, 5), {"least_area": 0.1}),
        ((0, 50, 0), {"least_area": 0}),
        ((0, 0, 0), {"least_area": 0.1}),
        ((3, 50, 3), {"least_area": 0.1, "least_agreement": 1}),
    ]:
        fused, *_ = fuse(networks, Volume(stack(*areas, structure=2), AFFINE), SHARP | settings)
        assert (fused.argmax(axis=0) > 0).sum(axis=(1, 2)).tolist() == drawn


def test_predicted_labels_are_the_means_most_probable_in_one_piece():
    raw = Volume(np.zeros((3, 24, 28), np.float32), np.diag([0.75, 0.75, 8.0, 1.0]))
    sure = np.zeros((2, 3, 12, 14), np.float32)
    sure[1, :, 2:8, 2:8] = 0.9
    sure[1, 0, 10:, 12:] = 0.9  # a piece apart
    sure[0] = 1 - sure[1]
    other = np.stack([np.full(sure.shape[1:], 0.6), np.full(sure.shape[1:], 0.4)]).astype(np.float32)
    morphology = postprocessing.Morphology((0, 0, 0), (), keep_largest=True)
    crop = Volume(np.zeros((3, 12, 14), np.float32), AFFINE)
    found = predicted_labels([sure, other], crop, raw, morphology)
    assert found.shape == raw.array.shape
    assert found[:, 6:14, 6:14].all()
    assert not found[:, :, 20:].any()


def test_labels_are_carried_by_scanner_coordinates():
    labels = witness().array
    target = Volume(np.zeros((3, 12, 14), np.float32), AFFINE)
    source = Volume(target.array, AFFINE @ np.array([[1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    carried = carry(target, source, labels, {"margin_mm": 20}, "none", seed=1)
    np.testing.assert_array_equal(carried.array[..., 2:], labels[..., :-2])
    np.testing.assert_array_equal(carried.affine, AFFINE)


def test_labels_without_a_structure_are_refused():
    target = Volume(np.zeros((3, 12, 14), np.float32), AFFINE)
    with pytest.raises(InputError, match="no structures found"):
        carry(target, target, np.zeros((3, 12, 14), np.uint8), {"margin_mm": 20}, "none", seed=1)


def test_other_slices_are_refused():
    with pytest.raises(InputError, match="do not share their slices"):
        fuse(probabilities(), witness(shape=(4, 12, 14)), SHARP)
