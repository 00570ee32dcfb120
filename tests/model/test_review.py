import numpy as np
import pytest

from cardioseg.model import review

KNOWN = {"LV": [60, 240], "RV": [100, 200]}
CERTAIN = {"LV": 0.95, "RV": 0.9}


def members(*widths):
    """Labels of several members: an LV of the given width in pixels, in the middle of the crop."""
    labels = np.zeros((len(widths), 2, 12, 12), np.uint8)
    for member, width in zip(labels, widths, strict=True):
        member[:, 4:6, 1 : 1 + width] = 1
    return labels


def reasons(**changes):
    given = {"volumes_ml": {"LV": 120.0, "RV": 150.0}, "agreements": CERTAIN, "members": members(4, 4)}
    given |= {"edges": {"LV": False, "RV": False}, "found": True, "orientation": ""}
    return review.reasons(known_ml=KNOWN, **given | changes)


def test_a_structure_at_any_side_of_the_image_is_at_its_edge():
    for pixel in ((0, 5), (11, 5), (5, 0), (5, 11)):
        labels = np.zeros((3, 12, 12), np.uint8)
        labels[0], labels[-1] = np.pad(np.ones((10, 10), np.uint8), 1), 0  # the first slice is no edge
        assert review.at_edge(labels, ["LV", "RV"]) == {"LV": False, "RV": False}
        labels[1][pixel] = 2
        assert review.at_edge(labels, ["LV", "RV"]) == {"LV": False, "RV": True}


def test_agreement_is_the_mean_dice_of_pairs():
    # Widths 2, 4, 4: Dice 2 * 2 / 6 twice, and 1.
    assert review.agreement(members(2, 4, 4), ["LV"])["LV"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_structure_that_members_miss():
    assert review.agreement(members(0, 4), ["LV"]) == {"LV": 0}
    assert np.isnan(review.agreement(members(4, 4), ["LV", "RV"])["RV"])


def test_agreement_of_one_member_is_not_available():
    assert np.isnan(review.agreement(members(4), ["LV"])["LV"])
    assert not reasons(agreements={"LV": float("nan"), "RV": float("nan")})


def test_plausible_result_needs_no_review():
    assert reasons() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"found": False}, "the localiser finds no heart: the crop is centred on the image"),
        ({"orientation": "mirrored?"}, "mirrored?"),
        ({"volumes_ml": {"LV": 0.0, "RV": 150.0}}, "LV is missing"),
        ({"volumes_ml": {"LV": 39.0, "RV": 150.0}}, "LV of 39 ml is implausible (trained on 60 to 240 ml)"),
        ({"volumes_ml": {"LV": 120.0, "RV": 301.0}}, "RV of 301 ml is implausible (trained on 100 to 200 ml)"),
        (
            {"agreements": {"LV": 0.95, "RV": 0.6}},
            "the ensemble disagrees on RV (Dice 0.60 between its members)",
        ),
        ({"edges": {"LV": False, "RV": True}}, "RV reaches the edge of the image: a part of it may lie outside"),
        ({"members": members(4, 11)}, "the segmentation reaches the edge of the crop"),
    ],
)
def test_reasons_for_a_review(changes, expected):
    assert reasons(**changes) == [expected]


@pytest.mark.parametrize(
    ("agreement", "unused", "expected"),
    [
        (0.9, "", []),
        (0.3, "", ["the source image disagrees (Dice 0.30 with the ensemble alone): of this patient?"]),
        (float("nan"), "lies elsewhere", ["the source image is not used: lies elsewhere"]),
    ],
)
def test_what_stands_out_of_a_source_image(agreement, unused, expected):
    assert review.source_reasons(agreement, unused) == expected


@pytest.mark.parametrize(("emptied", "told"), [(0, False), (1, False), (2, True), (4, True)])
def test_slices_that_most_members_draw_and_the_mask_leaves_empty_are_told(emptied, told):
    drawn = np.ones((3, 6, 4, 4), np.uint8)
    drawn[0, 5] = drawn[1:, 4] = 0  # one of three members draws nothing there, and two
    labels = np.ones((6, 8, 8), np.uint8)
    labels[4], labels[:emptied] = 0, 0
    expected = [f"{emptied} slices are empty in which the networks see a heart"] if told else []
    assert review.emptied_reasons(drawn, labels) == expected


def test_volumes_a_little_beyond_those_known_are_plausible():
    assert reasons(volumes_ml={"LV": 41.0, "RV": 299.0}) == []
