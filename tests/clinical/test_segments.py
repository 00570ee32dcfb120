import math

import numpy as np
import pytest
from scipy import ndimage

from cardioseg.clinical import segments
from cardioseg.core.errors import InputError
from cardioseg.core.volumes import NO_GEOMETRY, Volume
from rings import INNER, LV, MYO, OUTER, RV, SPACING, STORED, heart

VOXEL_G = 1.05 * math.prod(SPACING) / 1000
# In degrees from the middle of the septum towards the anterior wall, by hand from Cerqueira et al., Fig. 4.
SECTORS = {
    **{1: (60, 120), 2: (0, 60), 3: (-60, 0), 4: (-120, -60), 5: (-180, -120), 6: (120, 180)},
    **{13: (45, 135), 14: (-45, 45), 15: (-135, -45), 16: (135, 225)},
}


def divide(mask):
    return segments.divide(mask, LV, MYO, RV)


def measured(drawn):
    return {
        row["segment"]: row
        for row in segments.measure(divide(drawn.mask), drawn.image.array, drawn.mask.spacing, drawn.scar)
    }


@pytest.mark.parametrize("stored", STORED, ids=lambda axes: "".join(str(value) for value in axes.ravel()))
@pytest.mark.parametrize("rotation", [0, 110])
def test_segments_lie_where_they_must_however_the_image_is_stored(stored, rotation):
    drawn = heart(rotation=rotation, stored=stored)
    numbers = divide(drawn.mask).numbers
    from_apex = numbers if stored[2, 1] == 1 else numbers[::-1]
    angle = drawn.angle if stored[2, 1] == 1 else drawn.angle[::-1]
    assert set(np.unique(numbers)) == set(range(18))
    assert ((numbers > 0) == (drawn.mask.array == MYO)).all()
    assert (from_apex[0][from_apex[0] > 0] == 17).all()
    for part, slices, shift in (("apical", slice(1, 4), 0), ("mid", slice(4, 7), 6), ("basal", slice(7, 10), 0)):
        for number, (low, high) in SECTORS.items():
            if (part == "apical") != (number > 12):
                continue
            # Next to a border a voxel may fall to either side: the insertions are found to a pixel.
            inside = (angle[slices] - low - 2) % 360 < high - low - 4
            wall = from_apex[slices] > 0
            assert (from_apex[slices][inside & wall] == number + shift).all(), (part, number)


def test_coarse_pixels_have_segments_too():
    mask = heart().mask
    coarse = Volume(mask.array[:, ::4, ::3].copy(), mask.affine @ np.diag([3, 4, 1, 1]))
    assert min(coarse.spacing[1:]) > segments.SEPTUM_MM
    assert set(np.unique(divide(coarse).numbers)) == set(range(18))


@pytest.mark.parametrize("stored", [STORED[0], STORED[3], STORED[6], STORED[13]])
@pytest.mark.parametrize(
    ("sector", "scarred", "expected"),
    [((60, 120), (7, 10), {1}), ((-60, 60), (4, 7), {8, 9}), ((45, 135), (1, 4), {13}), ((120, 240), (7, 10), {5, 6})],
)
def test_scar_fills_the_segments_that_it_was_drawn_in(sector, scarred, expected, stored):
    rows = measured(heart(sector, 0.5, scarred, stored=stored))
    inner, outer = (0.7 * INNER, 0.8 * OUTER) if expected == {13} else (INNER, OUTER)
    share = 100 * ((inner + 0.5 * (outer - inner)) ** 2 - inner**2) / (outer**2 - inner**2)
    for number, row in rows.items():
        if number in expected:
            assert row["scar_percent"] == pytest.approx(share, abs=3)
            assert row["transmurality_percent"] == pytest.approx(50, abs=4)
        else:
            assert row["scar_percent"] < 1.5


@pytest.mark.parametrize("transmurality", [0.3, 0.75, 1.0])
def test_transmurality_of_half_a_segment_is_that_of_the_scar(transmurality):
    row = measured(heart((75, 105), transmurality))[1]
    assert row["transmurality_percent"] == pytest.approx(100 * transmurality, abs=6)
    assert row["scar_percent"] < 55


@pytest.mark.parametrize("pixel_mm", [0.75, 1.25, 1.8])
def test_transmurality_near_the_apex_does_not_hang_on_the_pixels(pixel_mm):
    """A thin ring of scar in a small ventricle, where sectors of 5 degrees are narrower than a pixel."""
    inner, outer, found = 7, 14, []
    size = round(80 / pixel_mm)
    for shift in (0, 0.3, 0.6):
        y, x = ((index - size / 2 + shift) * pixel_mm for index in np.indices((size, size)))
        radius = np.hypot(y, x)
        # The right ventricle lies on one side. Among slices of one size the first is the base.
        labels = np.select([radius <= inner, radius <= outer, (radius <= outer + 9) & (x > 6)], [LV, MYO, RV], 0)
        stack = np.repeat(labels[None], 6, axis=0).astype(np.uint8)
        affine = heart().mask.affine.copy()
        affine[:3, :3] *= np.array([pixel_mm, pixel_mm, -8]) / np.linalg.norm(affine[:3, :3], axis=0)
        mask = Volume(stack, affine)
        scar = (stack == MYO) & (radius <= inner + 0.25 * (outer - inner))
        rows = segments.measure(divide(mask), stack.astype(float), mask.spacing, scar)
        found += [row["transmurality_percent"] for row in rows[12:16]]
    assert np.mean(found) == pytest.approx(25, abs=4)


def test_masses_and_thickness():
    drawn = heart()
    rows = measured(drawn)
    assert sum(row["mass_g"] for row in rows.values()) == pytest.approx((drawn.mask.array == MYO).sum() * VOXEL_G)
    sixth = 1.05 * 3 * SPACING[0] * math.pi * (OUTER**2 - INNER**2) / 6 / 1000
    for number in range(1, 13):
        assert rows[number]["mass_g"] == pytest.approx(sixth, rel=0.03)
        assert rows[number]["thickness_mm"] == pytest.approx(OUTER - INNER, abs=0.4)
    assert rows[14]["thickness_mm"] == pytest.approx(0.8 * OUTER - 0.7 * INNER, abs=0.4)
    assert math.isnan(rows[17]["thickness_mm"])
    assert rows[17]["mass_g"] == pytest.approx(1.05 * SPACING[0] * math.pi * 12**2 / 1000, rel=0.03)
    assert rows[4]["mean_intensity"] == pytest.approx(100, abs=1)
    assert [row["name"] for row in rows.values()] == list(segments.NAMES)


def test_gap_in_the_wall_makes_it_no_thinner():
    drawn = heart(scarred=(0, 0))
    gap = (abs(drawn.angle + 90) < 20) & (drawn.mask.array == MYO)
    drawn.mask.array[gap] = 0
    rows = measured(drawn)
    assert rows[4]["thickness_mm"] == pytest.approx(OUTER - INNER, abs=0.6)
    assert rows[4]["mass_g"] < 0.5 * rows[1]["mass_g"]


def test_missing_apex_and_missing_wall_are_told():
    drawn = heart()
    drawn.mask.array[0] = 0
    drawn.mask.array[(drawn.angle > -121) & (drawn.angle < -59) & (drawn.mask.array == MYO)] = 0
    rows = measured(drawn)
    assert "beyond the cavity" in rows[17]["note"]
    assert rows[4]["note"] == "the mask has no myocardium here"
    assert math.isnan(rows[17]["mass_g"])
    assert rows[1]["note"] == ""


@pytest.mark.parametrize(("half_width", "enough"), [(6, False), (14, True)])
def test_a_septum_of_less_than_30_degrees_is_none(half_width, enough):
    # At 3 mm beside the wall of 30 mm the right ventricle reaches some 5 degrees further.
    drawn = heart()
    drawn.mask.array[(drawn.mask.array == RV) & (np.abs(drawn.angle) > half_width)] = 0
    if enough:
        assert set(np.unique(divide(drawn.mask).numbers)) == set(range(18))
    else:
        with pytest.raises(InputError, match="does not lie along the myocardium"):
            divide(drawn.mask)


def test_apical_slices_do_not_tell_where_the_septum_is():
    drawn = heart()
    expected = divide(drawn.mask).numbers
    labels = drawn.mask.array
    ventricle = np.isin(labels, (LV, MYO))
    beside = ndimage.binary_dilation(ventricle, np.ones((1, 5, 5))) & ~ventricle & (np.abs(drawn.angle - 110) < 60)
    labels[1:4] = np.where(beside, RV, np.where(labels == RV, 0, labels))[1:4]
    np.testing.assert_array_equal(divide(drawn.mask).numbers, expected)


def without(label):
    def spoil(mask):
        return Volume(np.where(mask.array == label, 0, mask.array).astype(np.uint8), mask.affine)

    return spoil


def mirrored(mask):
    affine = mask.affine.copy()
    affine[:, 0] *= -1
    return Volume(mask.array, affine)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without(RV), "the right ventricle does not lie along the myocardium"),
        (without(MYO), "holds no myocardium"),
        (without(LV), "0 slices show cavity and myocardium"),
        (lambda mask: Volume(mask.array[7:9], mask.affine), "2 slices show cavity and myocardium"),
        (lambda mask: Volume(mask.array[8:9], mask.affine), "1 slices show"),
        (lambda mask: Volume(mask.array, mask.affine, (NO_GEOMETRY,)), "does not say how the slices lie"),
        (mirrored, "the anterior wall would face the feet"),
    ],
)
def test_what_cannot_be_divided_gets_a_reason(spoil, message):
    with pytest.raises(InputError, match=message):
        divide(spoil(heart(rotation=0).mask))
