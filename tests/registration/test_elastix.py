import sys

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.evaluation import metrics
from cardioseg.registration import elastix

SETTINGS = {
    "margin_mm": 20,
    "smoothing_mm": [1],
    "bins": 32,
    "samples": 1000,
    "iterations": 100,
    "grid_mm": 30,
}
CENTRE = np.array([10.0, -20.0, 30.0])
# Shift of the heart in the moving image, in mm of scanner coordinates.
SHIFT = np.array([6.0, -5.0, 3.0])
# Axial slices, and others: stored from left to right and from top to bottom, and turned by 30 degrees.
UPRIGHT = np.eye(3)
TURNED = nib.eulerangles.euler2mat(z=0.1, y=0.2, x=0.5) @ np.diag([-1.0, 1.0, -1.0])


def empty(shape, spacing, directions):
    """A volume (z, y, x) of zeros about CENTRE; its axes' directions are columns, in the order x, y, z."""
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing[::-1]
    affine[:3, 3] = CENTRE - affine[:3, :3] @ (np.array(shape[::-1]) - 1) / 2
    return Volume(np.zeros(shape, np.float32), affine)


def coordinates(volume):
    z, y, x = np.meshgrid(*map(np.arange, volume.array.shape), indexing="ij")
    return nib.affines.apply_affine(volume.affine, np.stack([x, y, z], axis=-1))


def heart(points):
    """Labels at points relative to its centre (..., 3; mm): a cavity (1), its wall (2), a cavity beside it (3)."""
    radius = np.linalg.norm(points / [20, 20, 32], axis=-1)
    beside = np.linalg.norm((points - [-32, 6, 0]) / [16, 26, 28], axis=-1)
    return np.select([radius < 1, radius < 1.45, beside < 1], [1, 2, 3], 0).astype(np.uint8)


def drawn(volume, intensities, shift, scale):
    """The heart imaged, in its chest, on a volume's grid, and its labels there."""
    points = (coordinates(volume) - CENTRE - shift) / scale
    chest = np.cos(points[..., 0] / 14) + np.sin(points[..., 1] / 17) + np.cos(points[..., 2] / 25)
    labels = heart(points)
    array = np.select([labels == label for label in (1, 2, 3)], intensities, 20 * chest)
    noise = np.random.default_rng(0).normal(0, 3, array.shape)
    return Volume((array + noise).astype(np.float32), volume.affine), Volume(labels, volume.affine)


def pair(shift=SHIFT, scale=1.0, directions=TURNED):
    """Target, its labels, source, its labels: another contrast, another grid, and the heart elsewhere."""
    target, truth = drawn(empty((18, 80, 84), (5.0, 1.5, 1.5), UPRIGHT), (60, -20, 70), np.zeros(3), 1.0)
    source, labels = drawn(empty((14, 72, 64), (8.0, 1.8, 1.8), directions), (90, 30, 75), shift, scale)
    return target, truth.array, source, labels


def dice(carried, truth):
    return np.array([metrics.dice(carried == label, truth == label) for label in (1, 2, 3)])


def centroid(labels, volume):
    return coordinates(volume)[labels > 0].mean(axis=0)


@pytest.fixture(scope="module")
def shifted():
    target, truth, source, labels = pair()
    return target, truth, elastix.propagate(target, source, labels, SETTINGS, seed=3)


def test_registration_ends_with_the_stage_asked_for():
    target, _, source, labels = pair()
    few = SETTINGS | {"iterations": 2}
    assert list(elastix.propagate(target, source, labels, few, seed=3, last="none")) == ["none"]
    assert list(elastix.propagate(target, source, labels, few, seed=3, last="rigid")) == ["none", "rigid"]


@pytest.mark.parametrize("constant", [0, 1])
def test_image_of_a_single_grey_value_is_refused(constant):
    target, _, source, labels = pair()
    images = [target, source]
    images[constant] = Volume(np.full_like(images[constant].array, 7), images[constant].affine)
    with pytest.raises(InputError, match="single grey value"):
        elastix.propagate(*images, labels, SETTINGS, seed=1)


def test_missing_package_is_named(monkeypatch):
    elastix._itk.cache_clear()
    monkeypatch.setitem(sys.modules, "itk", None)
    with pytest.raises(InputError, match="install the package itk-elastix"):
        elastix.check_installed()


@pytest.mark.parametrize("directions", [UPRIGHT, TURNED])
def test_slices_of_half_the_thickness_take_each_label_twice(directions):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions * [1.25, 1.25, 10], [-93.7, 41.2, 120.3]
    between = affine @ np.diag([1, 1, 0.5, 1])
    labels = np.broadcast_to(np.arange(1, 9, dtype=np.uint8)[:, None, None], (8, 64, 64))
    thick, thin = Volume(labels, affine), Volume(np.zeros((14, 64, 64)), between)
    carried = elastix.carry(thick, elastix.positions(thin))
    expected = np.array([1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8])
    np.testing.assert_array_equal(carried, np.broadcast_to(expected[:, None, None], carried.shape))


def test_each_stage_gives_labels_on_the_target_grid(shifted):
    target, _, carried = shifted
    assert list(carried) == ["none", "rigid", "affine", "deformable"]
    assert all(labels.shape == target.array.shape and labels.dtype == np.uint8 for labels in carried.values())


def test_without_registration_the_shift_remains(shifted):
    target, truth, carried = shifted
    np.testing.assert_allclose(centroid(carried["none"], target) - centroid(truth, target), SHIFT, atol=1)


@pytest.mark.parametrize("stage", ["rigid", "affine", "deformable"])
def test_known_shift_is_recovered(shifted, stage):
    target, truth, carried = shifted
    off = centroid(carried[stage], target) - centroid(truth, target)
    assert np.abs(off[:2]).max() < 1.5
    assert abs(off[2]) < 2.5
    assert (dice(carried[stage], truth) > dice(carried["none"], truth) + 0.05).all()
    assert dice(carried[stage], truth).min() > 0.8


def test_smaller_heart_is_deformed():
    """A rigid registration cannot change the size of a heart."""
    target, truth, source, labels = pair(scale=np.array([0.8, 0.8, 1.0]))
    carried = elastix.propagate(target, source, labels, SETTINGS, seed=3)
    for stage in ("affine", "deformable"):
        assert (dice(carried[stage], truth) > dice(carried["rigid"], truth) + 0.03).all()
        assert (carried[stage] == 1).sum() == pytest.approx((truth == 1).sum(), rel=0.15)


def test_same_seed_same_labels_and_nothing_said(shifted, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target, source, labels = shifted[0], *pair()[2:]
    again = elastix.propagate(target, source, labels, SETTINGS, seed=3)
    assert all((again[stage] == shifted[2][stage]).all() for stage in again)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_images_of_different_places_are_refused():
    target, _, source, labels = pair(shift=np.zeros(3))
    elsewhere = source.affine + np.pad([[0], [0], [500]], ((0, 1), (3, 0)))
    with pytest.raises(InputError, match=r"outside of the other image in scanner coordinates"):
        elastix.propagate(target, Volume(source.array, elsewhere), Volume(labels.array, elsewhere), SETTINGS, seed=1)


def test_images_that_overlap_too_little_are_refused_with_advice():
    target, _, source, _ = pair()
    aside = Volume(source.array, source.affine + np.pad([[500], [0], [0]], ((0, 1), (3, 0))))
    with pytest.raises(InputError) as refused:
        elastix.displacements(target, aside, SETTINGS, seed=1, stages=["rigid"])
    said = str(refused.value)
    assert "overlap too little" in said
    assert "widen registration.margin_mm" in said
    assert "leave out the source image" in said
    assert "0x" not in said


@given(flips=st.sets(st.sampled_from([0, 1, 2])), order=st.permutations([0, 1, 2]), turned=st.booleans())
def test_labels_are_copied_whichever_way_they_are_stored(flips, order, turned):
    grid = empty((4, 7, 6), (8.0, 1.5, 1.25), TURNED if turned else UPRIGHT)
    labels = np.random.default_rng(0).integers(0, 4, grid.array.shape).astype(np.uint8)
    # nibabel's arrays are (x, y, z).
    orientation = np.array([[axis, -1 if axis in flips else 1] for axis in order])
    stored = nib.apply_orientation(labels.T, orientation).T
    affine = grid.affine @ nib.orientations.inv_ornt_aff(orientation, labels.T.shape)
    np.testing.assert_array_equal(elastix.carry(Volume(stored, affine), elastix.positions(grid)), labels)


def test_points_take_the_nearest_label_and_background_outside():
    labels = Volume(np.array([[[1, 2], [3, 1]]], np.uint8), np.diag([2.0, 3.0, 8.0, 1.0]))
    points = np.array([[0, 0, 0], [0.9, 0, 3.9], [1.1, 0, 0], [0.9, 1.6, -3.9], [2.9, 3, 0], [3.1, 3, 0], [0, 0, 4.1]])
    assert elastix.carry(labels, points).tolist() == [1, 1, 2, 3, 1, 0, 0]


def test_box_has_the_margin_within_the_volume():
    mask = np.zeros((9, 40, 50), bool)
    mask[4, 10:12, 45] = mask[5, 11, 47] = True
    z, y, x = elastix.box(mask, (8.0, 2.0, 1.0), margin_mm=10)
    assert (z, y, x) == (slice(3, 7), slice(5, 17), slice(35, 50))
    assert elastix.box(np.zeros((2, 3, 4), bool), (8.0, 2.0, 1.0), margin_mm=10) is None


def test_cut_keeps_scanner_coordinates():
    volume = empty((5, 8, 9), (8.0, 1.5, 1.25), TURNED)
    where = (slice(1, 4), slice(2, 8), slice(5, 7))
    part = elastix.cut(volume, where)
    assert part.array.shape == (3, 6, 2)
    np.testing.assert_allclose(coordinates(part), coordinates(volume)[where])


def test_positions_are_those_of_the_affine():
    volume = empty((5, 8, 9), (8.0, 1.5, 1.25), TURNED)
    np.testing.assert_allclose(elastix.positions(volume), coordinates(volume), atol=1e-4)


@pytest.mark.parametrize("stage", elastix.TRANSFORMS)
def test_slices_are_neither_shrunk_nor_smoothed(stage):
    parameters = elastix.elastix_parameters(stage, SETTINGS | {"smoothing_mm": [3, 1.5]}, seed=2**40 + 5)
    assert parameters["ImagePyramidRescaleSchedule"] == ["1"] * 6
    assert parameters["ImagePyramidSmoothingSchedule"] == ["3", "3", "0.1", "1.5", "1.5", "0.1"]
    assert parameters["RandomSeed"] == ["5"]
    assert all(isinstance(item, str) for values in parameters.values() for item in values)


@pytest.mark.parametrize(("target_slices", "source_slices"), [(1, 14), (3, 14), (18, 2), (1, 1)])
def test_stacks_of_few_slices_are_registered(target_slices, source_slices):
    """The known in-plane shift is found on such stacks, too."""
    target, truth, source, labels = pair(shift=np.array([6.0, -5.0, 0.0]), directions=UPRIGHT)
    truth = truth[middle(target, target_slices)]
    target = elastix.cut(target, middle(target, target_slices))
    source, labels = (elastix.cut(volume, middle(volume, source_slices)) for volume in (source, labels))
    carried = elastix.propagate(target, source, labels, SETTINGS, seed=1)
    scores = [metrics.dice(carried[stage] == 1, truth == 1) for stage in ("none", "rigid")]
    assert carried["deformable"].shape == target.array.shape
    if source_slices == 14:
        assert scores[1] > scores[0] + 0.1


def test_slices_of_a_thin_stack_stay_in_their_place():
    """The outer slices are continued to either side, not the stack moved: two slices of an image match these."""
    image, _ = drawn(empty((10, 72, 64), (8.0, 1.8, 1.8), UPRIGHT), (60, -20, 70), np.zeros(3), 1.0)
    moved = elastix.displacements(elastix.cut(image, middle(image, 2)), image, SETTINGS, 1, ["rigid"])["rigid"]
    assert moved.shape == (2, 72, 64, 3)
    np.testing.assert_allclose(moved.mean(axis=(0, 1, 2)), 0, atol=1)


def middle(volume, slices):
    first = (len(volume.array) - slices) // 2
    return slice(first, first + slices), *(slice(0, length) for length in volume.array.shape[1:])
