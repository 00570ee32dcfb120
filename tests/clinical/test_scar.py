import math

import numpy as np
import pytest
from scipy import ndimage

from cardioseg.clinical import scar
from cardioseg.clinical.ring import Ring, ring
from cardioseg.core.errors import InputError
from cardioseg.phantoms import heart as phantom
from cardioseg.phantoms.slices import LV_CODE, MYO_CODE
from rings import ENHANCED, INNER, LV, MUSCLE, MYO, NOISE, OUTER, RV, SCAR, SPACING, heart

VOXEL_ML = math.prod(SPACING) / 1000


def measure(image, labels, **changes):
    return scar.measure(image, labels, SPACING, LV, MYO, SCAR | changes)


def found(drawn, **changes):
    return measure(drawn.image.array, drawn.mask.array, **changes)


@pytest.mark.parametrize("transmurality", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("sector", [(60, 120), (-100, 35), (150, 230)])
def test_sector_has_its_mass(sector, transmurality):
    drawn = heart(sector, transmurality)
    area = math.radians(sector[1] - sector[0]) / 2 * ((INNER + transmurality * (OUTER - INNER)) ** 2 - INNER**2)
    expected_g = 1.05 * 3 * area * SPACING[0] / 1000
    numbers = found(drawn).quantities()
    # A pixel of the border, halfway in, is within the tolerance.
    for method in ("fwhm", "5sd"):
        assert numbers[f"scar_{method}_mass_g"] == pytest.approx(expected_g, rel=0.05)
    muscle = np.count_nonzero(drawn.mask.array == MYO) * VOXEL_ML * 1.05
    assert numbers["scar_fwhm_percent"] == pytest.approx(100 * numbers["scar_fwhm_mass_g"] / muscle)
    assert numbers["scar_slices"] == 3
    np.testing.assert_array_equal(found(drawn).chosen.scar, drawn.scar)
    assert not found(drawn).thin.any()  # though a scar through the whole wall reaches from the cavity to the outside


def test_thresholds_stand_between_remote_and_maximum():
    measured = found(heart())
    assert measured.remote.mean == pytest.approx(MUSCLE, abs=2)
    assert measured.remote.deviation == pytest.approx(NOISE, rel=0.1)
    half, many = measured.extents
    assert (half.method, many.method) == ("fwhm", "5sd")
    assert half.threshold == pytest.approx((MUSCLE + ENHANCED) / 2, abs=NOISE)
    assert many.threshold == pytest.approx(measured.remote.mean + 5 * measured.remote.deviation)
    assert measured.warnings() == []


def test_method_of_the_settings_counts():
    measured = found(heart(), method="sd", standard_deviations=3)
    assert measured.chosen.method == measured.quantities()["scar_method"] == "3sd"
    assert {"scar_3sd_threshold", "scar_3sd_mass_g", "scar_fwhm_threshold"} <= set(measured.quantities())


@pytest.mark.parametrize("sector", [(60, 120), (-170, 100)])
def test_remote_myocardium_lies_off_the_scar(sector):
    drawn = heart(sector, 1.0, scarred=(2, 10))
    remote = found(drawn).remote.mask
    assert (drawn.mask.array[remote] == MYO).all()
    assert not (remote & drawn.scar).any()
    assert remote.any(axis=(1, 2)).sum() >= 8
    depth = ring(drawn.mask.array, SPACING, LV, MYO).depth[remote]
    assert 0.25 < depth.min() < 0.3
    assert 0.7 < depth.max() < 0.75


def directions(*degrees):
    """A slice of a wall whose voxels lie halfway through it, in these directions."""
    wall, angle = np.ones((1, 1, len(degrees)), bool), np.radians(degrees).reshape(1, 1, -1)
    return Ring(~wall, wall, angle, np.ones(angle.shape), np.ones(angle.shape), np.full(angle.shape, 0.5))


def test_remote_myocardium_is_the_darkest_sector_of_60_degrees_with_ten_voxels():
    # Darker ones lie in a sector of nine, and at its end a sector is over.
    wall = directions(*[170] * 9, *[0] * 5, *[59] * 5, 60)
    image = np.array([*[1.0] * 9, *range(100, 110), 50]).reshape(1, 1, -1)
    remote = scar.find_remote(image, wall)
    np.testing.assert_array_equal(np.flatnonzero(remote.mask), range(9, 19))
    assert (remote.mean, remote.deviation) == (104.5, pytest.approx(8.25**0.5))
    with pytest.raises(InputError, match="thick enough"):
        scar.find_remote(image[..., :9], directions(*[170] * 9))


def test_slice_that_is_scar_all_round_is_no_remote_myocardium():
    drawn = heart((-180, 180), 1.0, scarred=(3, 6))
    measured = found(drawn)
    assert not (measured.remote.mask & drawn.scar).any()
    np.testing.assert_array_equal(measured.chosen.scar, drawn.scar)


def test_slice_is_scar_all_round_if_brighter_than_the_others_by_three_deviations():
    labels = heart().mask.array
    wall = ring(labels, SPACING, LV, MYO)
    # From the second slice on, since the first has no cavity. The median is 100, and that of the distances from it 10:
    # slices beyond 100 + 3 x 1.4826 x 10 = 144.5 are left out.
    brightness = np.array([100, 100, 100, 100, 110, 90, 110, 90, 140, 150])
    image = np.broadcast_to(brightness[:, None, None], labels.shape).astype(float)
    assert scar.find_remote(image, wall).mask.any(axis=(1, 2)).tolist() == [False, *[True] * 8, False]


@pytest.mark.parametrize(("scale", "offset"), [(3.7, 0), (1, 4000), (0.001, -7), (20, -9000)])
def test_scale_and_offset_of_the_image_do_not_matter(scale, offset):
    drawn = heart()
    expected, got = found(drawn), measure(drawn.image.array * scale + offset, drawn.mask.array)
    np.testing.assert_array_equal(got.labels, expected.labels)
    for one, other in zip(got.extents, expected.extents, strict=True):
        assert one.threshold == pytest.approx(other.threshold * scale + offset)


def test_dark_core_is_scar_and_has_its_volume():
    drawn = heart((60, 120), 1.0)
    angle, z = drawn.angle, np.arange(10)[:, None, None]
    core = drawn.scar & (abs(angle - 90) < 15) & (abs(z - 8) <= 1)
    y, x = np.meshgrid((np.arange(110) - 52.3) * SPACING[1], (np.arange(96) - 49.2) * SPACING[2], indexing="ij")
    core &= np.hypot(x, y) < INNER + 6
    drawn.image.array[core] = MUSCLE
    measured = found(drawn)
    np.testing.assert_array_equal(measured.chosen.scar, drawn.scar)
    np.testing.assert_array_equal(measured.chosen.dark_cores, core)
    assert measured.quantities()["dark_core_fwhm_ml"] == pytest.approx(core.sum() * VOXEL_ML)
    assert set(np.unique(measured.labels)) == {0, *scar.CODES.values()}


def test_papillary_muscle_in_the_cavity_is_no_dark_core():
    drawn = heart((60, 120), 1.0)
    cavity = drawn.mask.array == LV
    _, y, x = (int(axis) for axis in np.mean(np.nonzero(cavity), axis=1))
    island = np.zeros_like(cavity)
    island[:, y - 2 : y + 3, x - 2 : x + 3] = True
    drawn.mask.array[island], drawn.image.array[island] = MYO, MUSCLE
    measured = found(drawn)
    np.testing.assert_array_equal(measured.chosen.scar, drawn.scar)
    assert not measured.chosen.dark_cores.any()


@pytest.mark.parametrize("pixel_mm", [SPACING[1], 1.6, 2.0])
def test_speck_and_bright_rim_are_no_scar(pixel_mm):
    drawn = heart(scarred=(0, 0))
    drawn.image.array[5, 50:53, 74:76] = ENHANCED
    labels = drawn.mask.array
    rim = labels == MYO
    for shift in (-1, 1):
        for axis in (1, 2):
            rim &= np.roll(labels, shift, axis) != LV
    drawn.image.array[(labels == MYO) & ~rim] = ENHANCED
    measured = scar.measure(drawn.image.array, labels, (SPACING[0], pixel_mm, pixel_mm), LV, MYO, SCAR)
    assert not measured.chosen.scar.any()
    assert measured.quantities()["scar_fwhm_mass_g"] == 0
    assert math.isnan(measured.chosen.threshold)


def layer(labels, *beside):
    """The voxels of the wall that touch one of the labels in their slice, also at a corner."""
    other = ndimage.binary_dilation(np.isin(labels, beside), np.ones((1, 3, 3)))
    return other & (labels == MYO)


def test_healthy_wall_behind_a_bright_rim_is_no_dark_core():
    drawn = heart((60, 120), 1.0)
    labels = drawn.mask.array
    bright = drawn.scar | (layer(labels, 0, RV) & drawn.scar.any(axis=(1, 2), keepdims=True))
    image = np.where(bright, ENHANCED, drawn.image.array)
    measured = measure(image, labels)
    assert drawn.scar[measured.chosen.scar].sum() == drawn.scar.sum()
    assert not (measured.chosen.scar & ~bright).any()
    assert not measured.chosen.dark_cores.any()


@pytest.mark.parametrize("pixel_mm", [1.25, 1.6])
def test_bright_rim_alone_is_no_scar(pixel_mm):
    drawn = heart(scarred=(0, 0))
    labels = drawn.mask.array
    image = np.where(layer(labels, 0, RV), ENHANCED, drawn.image.array)
    measured = scar.measure(image, labels, (SPACING[0], pixel_mm, pixel_mm), LV, MYO, SCAR)
    assert not measured.chosen.scar.any()
    assert measured.warnings() == []
    # Nor if any size counts; noise stays below a threshold as high as this one.
    of_any_size = SCAR | {"smallest_ml": 0, "standard_deviations": 50}
    measured = scar.measure(image, labels, (SPACING[0], pixel_mm, pixel_mm), LV, MYO, of_any_size)
    assert not measured.chosen.scar.any()


def test_bright_rim_of_two_fine_pixels_is_no_scar():
    distance = np.hypot(*np.mgrid[-25:26, -25:26])
    labels = np.stack([np.where(distance < 8, LV, np.where(distance < 24, MYO, 0))] * 6)
    image = np.where(distance < 22, MUSCLE, ENHANCED) + np.random.default_rng(0).normal(0, NOISE, labels.shape)
    assert not scar.measure(image, labels, (SPACING[0], 0.5, 0.5), LV, MYO, SCAR).chosen.scar.any()


@pytest.mark.parametrize(("thickness", "basal"), [(5.000001, 4), (8.0, 2), (10.0, 2), (12.0, 1)])
def test_scar_within_20_mm_of_the_base_is_confined_to_it(thickness, basal):
    distance = np.hypot(*np.mgrid[-15:16, -15:16])
    labels = np.stack([np.where(distance < 4, LV, np.where(distance < 8 + z / 4, MYO, 0)) for z in range(12)])
    wall = ring(labels, (thickness, 1.5, 1.5), LV, MYO)
    for depth in (basal, basal + 1):
        sector = np.zeros(labels.shape, bool)
        sector[-depth:, :, :15] = wall.myocardium[-depth:, :, :15]
        confined = scar.confined_to_base(sector, wall, (thickness, 1.5, 1.5))
        np.testing.assert_array_equal(confined, sector if depth == basal else np.zeros_like(sector))
    speck = np.zeros(labels.shape, bool)
    speck[-1, 15, 6:9] = True  # less than a percent of the wall
    assert wall.myocardium[speck].all()
    assert not scar.confined_to_base(speck, wall, (thickness, 1.5, 1.5)).any()


def test_wide_dark_core_is_not_taken_for_remote_myocardium():
    drawn = heart((30, 150), 1.0, scarred=(3, 9))
    core = drawn.scar & (abs(drawn.angle - 90) < 35) & ~layer(drawn.mask.array, 0, LV, RV)
    image = np.where(core, drawn.image.array - ENHANCED + MUSCLE / 2, drawn.image.array)
    measured = measure(image, drawn.mask.array)
    assert not (measured.remote.mask & core).any()
    assert measured.remote.mean == pytest.approx(MUSCLE, abs=3)
    for extent in measured.extents:
        np.testing.assert_array_equal(extent.scar, drawn.scar)
        np.testing.assert_array_equal(extent.dark_cores, core)


def test_bright_wall_that_is_too_thin_to_count_is_told():
    drawn = heart(scarred=(0, 0))
    labels = drawn.mask.array.copy()
    # From 40 to 140 degrees infarction has thinned the wall of slices 7 to 9 to two pixels.
    thinned = (drawn.angle > 40) & (drawn.angle < 140) & (np.arange(10)[:, None, None] > 6)
    first = layer(labels, LV)
    kept = first | layer(np.where(first, LV, labels), LV)
    labels[thinned & (labels == MYO) & ~kept] = 0
    bright = thinned & (labels == MYO)
    measured = measure(np.where(bright, ENHANCED, drawn.image.array), labels)
    assert not measured.chosen.scar.any()
    np.testing.assert_array_equal(measured.thin, bright)
    (warning,) = measured.warnings()
    assert f"{measured.grams(bright):.1f} g in slices 8 to 10 are bright from the cavity to the outside" in warning


def test_threshold_within_the_noise_is_told():
    drawn = heart()
    image = np.where(drawn.scar, 180, drawn.image.array)
    image += np.random.default_rng(2).normal(0, 12, image.shape)
    (warning,) = measure(image, drawn.mask.array).warnings()
    assert "below 5 standard deviations" in warning


def test_one_slice_suffices():
    drawn = heart()
    one = measure(drawn.image.array[8:9], drawn.mask.array[8:9])
    np.testing.assert_array_equal(one.chosen.scar, drawn.scar[8:9])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda image, labels: (image[1:], labels), "is not that of its mask"),
        (lambda image, labels: (image, np.where(labels == MYO, 0, labels)), "holds no myocardium"),
        (lambda image, labels: (np.full_like(image, 7), labels), "every voxel of the myocardium is 7"),
        (lambda image, labels: (np.where(image < (MUSCLE + ENHANCED) / 2, 3, image), labels), "remote myocardium is 3"),
        (lambda image, labels: (np.where(labels == MYO, np.nan, image), labels), "not finite"),
        (lambda image, labels: (image, np.where(labels == LV, 0, labels)), "no slice has a wall around its cavity"),
    ],
)
def test_bad_input_gets_a_sentence(spoil, message):
    drawn = heart()
    with pytest.raises(InputError, match=message):
        measure(*spoil(drawn.image.array, drawn.mask.array))


@pytest.mark.slow
def test_phantoms_mass_over_twenty_patients():
    measured, true, doubtful = [], [], []
    for patient in range(100, 120):
        drawn = phantom.draw_patient(patient, 1, modalities=["LGE"])["LGE"]
        voxel_g = 1.05 * math.prod(drawn.spacing) / 1000
        found = scar.measure(drawn.image, drawn.labels, drawn.spacing, LV_CODE, MYO_CODE, SCAR)
        if found.warnings():
            doubtful.append(patient)
            continue
        measured.append(found.quantities()["scar_fwhm_mass_g"])
        true.append(voxel_g * np.count_nonzero(drawn.scar))
    assert len(doubtful) <= 1
    assert sum(measured) == pytest.approx(sum(true), rel=0.15)
    assert np.corrcoef(measured, true)[0, 1] > 0.95
