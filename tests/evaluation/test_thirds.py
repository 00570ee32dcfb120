import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cardioseg.evaluation import metrics, thirds
from cardioseg.evaluation.measures import MEASURES, THIRDS_COLUMNS, Measure
from surfaces import border_mm

SPACING = (8.0, 1.0, 1.25)
BASE, MID, APEX = range(3)


def cylinder(radii, shift=(0, 0), shape=(90, 80)):
    """A disc in each slice: of a radius in mm, or nothing where it is 0."""
    y, x = np.meshgrid((np.arange(shape[0]) - 45) * SPACING[1], (np.arange(shape[1]) - 40) * SPACING[2], indexing="ij")
    distance = np.hypot(y - shift[0], x - shift[1])
    return np.stack([distance < radius for radius in radii]).astype(np.uint8)


def rows(prediction, truth, structures=("LV",)):
    found = metrics.compare(prediction, truth, SPACING, structures)
    return {(row["structure"], row["third"]): row for row in thirds.evaluate(found, thirds.of_slices(truth))}


@pytest.mark.parametrize(
    ("radii", "expected"),
    [
        ([9, 8, 7], [BASE, MID, APEX]),
        ([7, 8, 9], [APEX, MID, BASE]),
        ([9, 9, 9, 8, 8, 8, 5, 5, 5], [BASE] * 3 + [MID] * 3 + [APEX] * 3),
        # By the centres: of 4 slices the inner two are in the middle, of 5 only one is.
        ([9, 8, 7, 6], [BASE, MID, MID, APEX]),
        ([9, 8, 7, 6, 5], [BASE, BASE, MID, APEX, APEX]),
        ([0, 9, 8, 7, 0, 0], [BASE, BASE, MID, APEX, APEX, APEX]),
        ([9, 0, 0, 0, 0, 5], [BASE, BASE, MID, MID, APEX, APEX]),  # a gap belongs to the extent
        ([9, 5], [BASE, APEX]),
        ([0, 9, 0], [BASE, MID, APEX]),
        ([0, 0], [MID, MID]),
    ],
)
def test_slices_belong_to_the_third_of_their_centre(radii, expected):
    assert thirds.of_slices(cylinder(radii)).tolist() == expected


@given(st.lists(st.integers(0, 12), min_size=1, max_size=14))
def test_turned_stack_has_the_same_thirds(radii):
    truth = cylinder(radii, shape=(40, 40))
    there, back = thirds.of_slices(truth), thirds.of_slices(truth[::-1])[::-1]
    areas = truth.sum(axis=(1, 2))
    assume(areas[there == BASE].sum() != areas[there == APEX].sum())
    assert there.tolist() == back.tolist()


def test_each_third_has_its_own_agreement():
    """A cylinder that is too wide by 3 mm at the base, right in the middle, and too narrow by 5 mm at the apex."""
    found = rows(cylinder([33] * 5 + [30] * 5 + [24] * 5), cylinder([30] * 10 + [29] * 5))
    base, mid, apex = (found["LV", third] for third in thirds.THIRDS)
    assert base["dice"] == pytest.approx(2 * 30**2 / (30**2 + 33**2), abs=0.005)
    assert apex["dice"] == pytest.approx(2 * 24**2 / (29**2 + 24**2), abs=0.005)
    assert mid["dice"] == 1
    assert base["hd95_mm"] == pytest.approx(3, abs=0.7)
    assert apex["hd95_mm"] == pytest.approx(5, abs=0.7)
    # Only the rims where the radius changes have no partner.
    assert mid["asd_mm"] < 1


def test_cut_between_thirds_is_no_surface():
    """The middle of a long cylinder has contours alone, which lie 3 mm apart; faces there would lie on others."""
    truth, prediction = cylinder([30] * 9), cylinder([33] * 9)
    found = rows(prediction, truth)
    assert found["LV", "mid"]["asd_mm"] == pytest.approx(3, abs=0.2)
    assert metrics.surfaces(prediction[3:6] > 0, truth[3:6] > 0, SPACING).distances().asd_mm < 1.5
    assert found["LV", "base"]["asd_mm"] < 1.5  # its outer face is surface


def test_missed_apex_counts_by_the_manual_surface():
    truth = cylinder([30, 30, 28, 26, 24, 22, 20, 16, 12])
    prediction = truth.copy()
    prediction[6:] = 0
    found = rows(prediction, truth)
    assert found["LV", "apex"]["dice"] == 0
    assert 8 <= found["LV", "apex"]["asd_mm"] <= 24
    assert found["LV", "base"]["dice"] == 1


def test_what_lies_beyond_the_manual_mask_counts_in_the_nearest_third():
    truth = cylinder([0, 30, 30, 30, 20, 20, 20, 0])
    prediction = cylinder([30, 30, 30, 30, 20, 20, 20, 0])
    found = rows(prediction, truth)
    assert found["LV", "base"]["dice"] < 0.9
    assert found["LV", "apex"]["dice"] == 1


def test_third_without_a_structure_is_not_available():
    truth = cylinder([30] * 6 + [20] * 3)
    truth[:6][cylinder([10] * 6) > 0] = 2
    found = rows(truth, truth, ("wall", "other"))
    assert all(math.isnan(found["other", "apex"][name]) for name in ("dice", "asd_mm", "hd95_mm"))
    assert found["other", "base"]["dice"] == 1
    missed = rows(np.where(truth == 2, 0, truth).astype(np.uint8), truth, ("wall", "other"))
    assert missed["other", "base"]["dice"] == 0
    assert math.isnan(missed["other", "base"]["asd_mm"])


def test_every_measure_of_the_tables_is_measured_in_thirds(monkeypatch):
    truth, prediction = cylinder([30] * 6), cylinder([33] * 6)
    (base, *_) = rows(prediction, truth).values()
    assert list(base) == ["structure", "third", *MEASURES]
    assert set(MEASURES) < set(THIRDS_COLUMNS)
    added = "asd_truth_to_prediction_mm"
    monkeypatch.setitem(MEASURES, added, Measure(added, "directed ASD (mm)", 2))
    assert rows(prediction, truth)["LV", "mid"][added] == pytest.approx(3, abs=0.5)


masks = arrays(bool, (7, 6, 5))


@settings(deadline=None)
@given(masks, masks)
def test_thirds_together_are_the_whole_and_each_is_as_defined(prediction, truth):
    assume(prediction.any() and truth.any())
    found = metrics.surfaces(prediction, truth, SPACING)
    of_slices = thirds.of_slices(truth.astype(np.uint8))
    surface, true_surface = border_mm(prediction, SPACING), border_mm(truth, SPACING)
    between = np.linalg.norm(surface[:, None] - true_surface[None], axis=-1)
    total = 0.0
    for third in range(3):
        inside, truly_inside = (
            of_slices[np.rint(points[:, 0] / SPACING[0]).astype(int)] == third for points in (surface, true_surface)
        )
        pooled = np.concatenate([between.min(axis=1)[inside], between.min(axis=0)[truly_inside]])
        distances = found.distances(of_slices == third)
        if not len(pooled):
            assert math.isnan(distances.asd_mm) and math.isnan(distances.hd95_mm)
            continue
        assert distances.asd_mm == pytest.approx(pooled.mean())
        assert distances.hd95_mm == pytest.approx(np.percentile(pooled, 95))
        total += distances.asd_mm * len(pooled)
    assert total / sum(between.shape) == pytest.approx(found.distances().asd_mm)
