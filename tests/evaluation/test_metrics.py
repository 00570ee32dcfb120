import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from medpy.metric import binary
from scipy import ndimage

from cardioseg.core.errors import InputError
from cardioseg.evaluation.metrics import compare, dice, measure, surfaces
from surfaces import border_mm

SPACING = (5.0, 0.75, 1.25)

masks = arrays(bool, (4, 7, 6))
spacings = st.tuples(*[st.sampled_from([0.5, 0.75, 1.0, 1.25, 5.0, 8.0])] * 3)


def box(shape, *bounds):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*bound) for bound in bounds)] = True
    return mask


def blob(seed, shape=(12, 60, 50), shift=0):
    """A smooth random blob about the centre."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), (1, 4, 4))
    grid = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    return np.roll(sum(axis**2 for axis in grid) + 4 * noise < 0.4, shift, axis=1)


def surface_distances(a, b, spacing):
    return surfaces(a, b, spacing).distances()


def as_tuple(distances):
    return (
        distances.asd_mm,
        distances.asd_prediction_to_truth_mm,
        distances.asd_truth_to_prediction_mm,
    )


def medpy_on_the_whole_volume(a, b, spacing):
    return binary.assd(a, b, spacing), binary.asd(a, b, spacing), binary.asd(b, a, spacing)


def distances_by_definition(a, b, spacing):
    """Distance in mm from each border voxel of one mask to the nearest of the other, both ways."""
    between = np.linalg.norm(border_mm(a, spacing)[:, None] - border_mm(b, spacing)[None], axis=-1)
    return between.min(axis=1), between.min(axis=0)


def test_dice_on_a_few_voxels_is_what_it_is_by_hand():
    a = np.array([1, 1, 1, 0, 0], dtype=bool)
    b = np.array([0, 1, 1, 1, 1], dtype=bool)
    assert dice(a, b) == pytest.approx(4 / 7)
    assert dice(a, a) == 1
    assert dice(a, ~a) == 0


def test_dice_is_0_if_one_mask_is_empty_and_not_available_if_both_are():
    empty, full = np.zeros((2, 3), dtype=bool), np.ones((2, 3), dtype=bool)
    assert dice(empty, full) == 0
    assert dice(full, empty) == 0
    assert math.isnan(dice(empty, empty))


@given(masks, masks)
def test_dice_is_twice_the_overlap_over_the_sum_of_sizes(a, b):
    assume(a.any() or b.any())
    assert dice(a, b) == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert dice(a, b) == dice(b, a)


def test_single_voxels_are_their_distance_apart():
    a, b = np.zeros((4, 9, 9), dtype=bool), np.zeros((4, 9, 9), dtype=bool)
    a[1, 2, 2] = b[2, 6, 5] = True
    expected = math.sqrt(5.0**2 + (4 * 0.75) ** 2 + (3 * 1.25) ** 2)
    assert as_tuple(surface_distances(a, b, SPACING)) == pytest.approx((expected,) * 3)


def test_asd_pools_both_surfaces_and_does_not_average_the_directed_means():
    # Truth: one voxel. Prediction: it and four more in a row, at 1, 2, 3 and 4 voxels.
    truth = box((3, 3, 9), (1, 2), (1, 2), (1, 2))
    prediction = box((3, 3, 9), (1, 2), (1, 2), (1, 6))
    distances = surface_distances(prediction, truth, (1.0, 1.0, 1.5))
    assert distances.asd_prediction_to_truth_mm == pytest.approx(1.5 * 10 / 5)
    assert distances.asd_truth_to_prediction_mm == 0
    assert distances.asd_mm == pytest.approx(1.5 * 10 / 6)


@pytest.mark.parametrize("axis", range(3))
def test_distance_of_parallel_plates_is_the_shift(axis):
    # Plates one voxel thick consist of border only, so every distance is the shift.
    shape = (8, 8, 8)
    prediction, truth = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    np.moveaxis(prediction, axis, 0)[2] = True
    np.moveaxis(truth, axis, 0)[5] = True
    assert as_tuple(surface_distances(prediction, truth, SPACING)) == pytest.approx((3 * SPACING[axis],) * 3)


def test_distance_of_shifted_cubes_is_what_it_is_by_hand():
    # 5^3 cubes, 98 border voxels each, shifted by one voxel along x. On one border, the face that sticks out
    # (25) and the part of the opposite face that lies within the other cube (9) are one voxel off; the rest is shared.
    a, b = box((9, 9, 9), (2, 7), (2, 7), (2, 7)), box((9, 9, 9), (2, 7), (2, 7), (3, 8))
    assert as_tuple(surface_distances(a, b, (5.0, 1.25, 0.75))) == pytest.approx((0.75 * (25 + 9) / 98,) * 3)


def test_distance_of_concentric_spheres_is_the_difference_of_their_radii():
    grid = np.indices((61, 61, 61)) - 30
    radius = np.sqrt((grid**2).sum(axis=0))
    distances = surface_distances(radius <= 25, radius <= 17, (1.0, 1.0, 1.0))
    assert as_tuple(distances) == pytest.approx((8, 8, 8), abs=0.4)


def test_what_lies_outside_the_volume_is_outside_the_mask():
    # Both masks reach the edge of the volume: the voxels there are border as they would be in a larger volume.
    a, b = box((3, 6, 6), (0, 3), (0, 4), (0, 6)), box((3, 6, 6), (0, 3), (0, 3), (0, 6))
    inside = surface_distances(a, b, SPACING)
    assert as_tuple(surface_distances(np.pad(a, 2), np.pad(b, 2), SPACING)) == as_tuple(inside)
    assert inside.asd_mm == pytest.approx(binary.assd(a, b, SPACING))


@settings(deadline=None)
@given(masks, masks, spacings)
def test_distances_are_those_of_the_definition(a, b, spacing):
    assume(a.any() and b.any())
    to_b, to_a = distances_by_definition(a, b, spacing)
    pooled = np.concatenate([to_b, to_a])
    distances = surface_distances(a, b, spacing)
    assert as_tuple(distances) == pytest.approx((pooled.mean(), to_b.mean(), to_a.mean()))
    assert distances.hd95_mm == pytest.approx(np.percentile(pooled, 95))


@settings(deadline=None)
@given(masks, masks, spacings)
def test_bounding_box_gives_the_distances_of_the_whole_volume(a, b, spacing):
    assume(a.any() and b.any())
    distances = surface_distances(a, b, spacing)
    assert as_tuple(distances) == pytest.approx(medpy_on_the_whole_volume(a, b, spacing))
    assert distances.hd95_mm == pytest.approx(binary.hd95(a, b, spacing))
    assert distances.hd95_mm == pytest.approx(surface_distances(b, a, spacing).hd95_mm)


def test_hd95_of_a_few_voxels_is_what_it_is_by_hand():
    # Pooled distances in voxels: 0, 0, 1, 2, 3, 4; the 95th percentile lies three quarters of the way from 3 to 4.
    truth, prediction = box((3, 3, 9), (1, 2), (1, 2), (1, 2)), box((3, 3, 9), (1, 2), (1, 2), (1, 6))
    assert surface_distances(prediction, truth, (1.0, 1.0, 1.5)).hd95_mm == pytest.approx(1.5 * 3.75)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 25), spacings)
def test_bounding_box_of_blobs_gives_the_distances_of_the_whole_volume(seed, other_seed, shift, spacing):
    a, b = blob(seed), blob(other_seed, shift=shift)
    assert as_tuple(surface_distances(a, b, spacing)) == pytest.approx(medpy_on_the_whole_volume(a, b, spacing))


def test_single_slice_has_the_distances_of_medpy():
    a, b = blob(1)[6:7], blob(2)[6:7]
    assert as_tuple(surface_distances(a, b, SPACING)) == pytest.approx(medpy_on_the_whole_volume(a, b, SPACING))


@settings(deadline=None)
@given(masks, masks, spacings, st.floats(0.1, 10))
def test_distances_are_symmetric_and_proportional_to_the_spacing(a, b, spacing, factor):
    forth, back = surface_distances(a, b, spacing), surface_distances(b, a, spacing)
    assert forth.asd_mm == pytest.approx(back.asd_mm, nan_ok=True)
    assert forth.asd_prediction_to_truth_mm == pytest.approx(back.asd_truth_to_prediction_mm, nan_ok=True)
    scaled = surface_distances(a, b, tuple(factor * size for size in spacing))
    assert as_tuple(scaled) == pytest.approx(tuple(factor * value for value in as_tuple(forth)), nan_ok=True)
    assert as_tuple(surface_distances(a, a, spacing)) == pytest.approx(
        (0, 0, 0) if a.any() else (math.nan,) * 3, nan_ok=True
    )


@settings(deadline=None)
@given(masks, masks, spacings)
def test_values_stay_within_their_bounds(a, b, spacing):
    assume(a.any() and b.any())
    farthest = math.hypot(*((length - 1) * size for length, size in zip(a.shape, spacing, strict=True)))
    distances = surface_distances(a, b, spacing)
    assert 0 <= dice(a, b) <= 1
    assert all(0 <= value <= farthest * (1 + 1e-9) for value in as_tuple(distances))
    directed = sorted([distances.asd_prediction_to_truth_mm, distances.asd_truth_to_prediction_mm])
    assert directed[0] * (1 - 1e-9) <= distances.asd_mm <= directed[1] * (1 + 1e-9)


@settings(deadline=None)
@given(masks, masks, spacings, st.floats(0.1, 10))
def test_spacing_scales_distances_and_its_cube_scales_volumes_but_not_dice(a, b, spacing, factor):
    other = tuple(factor * size for size in spacing)
    row, scaled = (
        measure(found, size)
        for size in (spacing, other)
        for found in compare(a.astype(int), b.astype(int), size, ["LV"])
    )
    for key, power in {"dice": 0, "asd_mm": 1, "volume_ml": 3, "volume_truth_ml": 3}.items():
        assert scaled[key] == pytest.approx(row[key] * factor**power, nan_ok=True)


def test_distance_to_a_missing_structure_is_not_available():
    empty, full = np.zeros((2, 4, 4), dtype=bool), np.ones((2, 4, 4), dtype=bool)
    for pair in ((empty, full), (full, empty), (empty, empty)):
        distances = surface_distances(*pair, SPACING)
        assert all(math.isnan(value) for value in (*as_tuple(distances), distances.hd95_mm))


def test_each_structure_is_measured():
    truth = np.zeros((4, 10, 10), dtype=np.uint8)
    truth[1:3, 2:6, 2:6] = 1
    truth[1:3, 6:8, 2:6] = 2
    truth[0, 0, 0] = 3
    prediction = truth.copy()
    prediction[1:3, 5, 2:6] = 2
    prediction[0, 0, 0] = 0
    spacing = (10.0, 2.0, 1.0)
    rows = [measure(found, spacing) for found in compare(prediction, truth, spacing, ("cavity", "wall", "other"))]
    assert [row["structure"] for row in rows] == ["cavity", "wall", "other"]
    assert all(type(value) is float for row in rows for name, value in row.items() if name != "structure")
    cavity, wall, other = rows
    assert cavity["dice"] == pytest.approx(2 * 24 / (24 + 32))
    assert (cavity["volume_ml"], cavity["volume_truth_ml"]) == pytest.approx((24 * 0.02, 32 * 0.02))
    assert wall["dice"] == pytest.approx(2 * 16 / (16 + 24))
    expected = surface_distances(prediction == 2, truth == 2, (10.0, 2.0, 1.0))
    assert (wall["asd_mm"], wall["asd_prediction_to_truth_mm"], wall["asd_truth_to_prediction_mm"]) == as_tuple(
        expected
    )
    assert expected.asd_prediction_to_truth_mm != expected.asd_truth_to_prediction_mm
    assert (other["dice"], other["volume_ml"]) == (0, 0)
    assert math.isnan(other["asd_mm"])
    assert other["volume_truth_ml"] == pytest.approx(0.02)


def test_structure_that_neither_map_has_is_not_available():
    labels = np.zeros((2, 4, 4), dtype=np.uint8)
    (found,) = compare(labels, labels, SPACING, ("cavity",))
    row = measure(found, SPACING)
    assert math.isnan(row["dice"])
    assert math.isnan(row["asd_mm"])
    assert (row["volume_ml"], row["volume_truth_ml"]) == (0, 0)


@pytest.mark.parametrize(
    ("prediction", "truth", "spacing", "message"),
    [
        (np.zeros((2, 3, 3), int), np.zeros((2, 3, 4), int), SPACING, "shape"),
        (np.zeros((3, 3), int), np.zeros((3, 3), int), SPACING, "volume"),
        (np.full((2, 3, 3), 500), np.zeros((2, 3, 3), int), SPACING, "prediction has labels from 500 to 500"),
        (np.zeros((2, 3, 3), int), np.full((2, 3, 3), -1), SPACING, "truth has labels from -1"),
        (np.full((2, 3, 3), np.nan), np.zeros((2, 3, 3), int), SPACING, "integers"),
        (np.zeros((2, 3, 3), int), np.zeros((2, 3, 3), int), (5.0, 0.0, 1.0), "spacing"),
        (np.zeros((2, 3, 3), int), np.zeros((2, 3, 3), int), (5.0, math.nan, 1.0), "spacing"),
        (np.zeros((2, 3, 3), int), np.zeros((2, 3, 3), int), (5.0, 1.0), "spacing"),
    ],
)
def test_maps_that_cannot_be_compared_are_refused(prediction, truth, spacing, message):
    with pytest.raises(InputError, match=message):
        compare(prediction, truth, spacing, ("cavity", "wall"))


def test_masks_must_be_boolean():
    labels = np.full((2, 3, 3), 2)
    with pytest.raises(InputError, match="boolean"):
        dice(labels, labels > 0)
    with pytest.raises(InputError, match="boolean"):
        surface_distances(labels > 0, labels, SPACING)
