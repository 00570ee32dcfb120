import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardioseg.core.errors import InputError
from cardioseg.evaluation import bland_altman, clinical, measures

CAVITY, WALL = 2, 5


def annulus(spacing, inner, outer, slices=1, size=96, stretch=1.0):
    """A cavity of a radius in mm (across y; x times `stretch`) within a wall, on every slice."""
    y, x = np.meshgrid(*[(np.arange(size) - size / 2 + 0.3) * mm for mm in spacing[1:]], indexing="ij")
    labels = np.zeros((slices, size, size), np.uint8)
    labels[:, (y / outer) ** 2 + (x / (stretch * outer)) ** 2 <= 1] = WALL
    labels[:, (y / inner) ** 2 + (x / (stretch * inner)) ** 2 <= 1] = CAVITY
    return labels


def thickness(labels, spacing=(8.0, 1.0, 1.0)):
    return clinical.wall_thickness(labels, spacing, CAVITY, WALL)


@pytest.mark.parametrize("spacing", [(8.0, 1.25, 1.25), (5.0, 0.75, 1.5), (10.0, 2.0, 1.0)])
@pytest.mark.parametrize(("inner", "outer"), [(20, 30), (25, 34.5), (10, 14), (28, 31)])
def test_thickness_of_an_annulus_is_the_difference_of_its_radii(spacing, inner, outer):
    assert thickness(annulus(spacing, inner, outer, size=128), spacing) == pytest.approx(outer - inner, abs=0.1)


@given(st.floats(8, 25), st.floats(3, 12), st.sampled_from([0.75, 1.0, 1.4]), st.sampled_from([0.75, 1.0, 1.4]))
def test_thickness_of_any_annulus_is_right_within_a_fifth_of_a_pixel(inner, wall, height, width):
    spacing = (8.0, height, width)
    assert thickness(annulus(spacing, inner, inner + wall, size=110), spacing) == pytest.approx(
        wall, abs=0.2 * max(height, width)
    )


def test_oval_cavity_has_about_its_mean_thickness():
    # Half-axes 20 x 25 and 30 x 37.5 mm: 10 mm thick above, 12.5 mm at the side.
    assert 10 < thickness(annulus((8, 1, 1), 20, 30, stretch=1.25), (8, 1, 1)) < 12.5


def test_thickness_around_an_off_centre_cavity_is_the_mean():
    """Only areas matter: a wall that is thick on one side and thin on the other has the mean thickness."""
    labels = annulus((8, 1, 1), 20, 30)
    labels[labels == CAVITY] = WALL
    y, x = np.indices(labels.shape[1:])
    labels[0, (y - 48) ** 2 + (x - 52) ** 2 <= 20**2] = CAVITY
    assert thickness(labels) == pytest.approx(10, abs=0.15)


@pytest.mark.parametrize(
    ("slices", "middle"),
    [(1, [0]), (2, [0, 1]), (3, [1]), (4, [1, 2]), (5, [1, 2, 3]), (9, [3, 4, 5]), (10, [3, 4, 5, 6])],
)
@pytest.mark.parametrize("before", [0, 3])
def test_middle_third_is_rounded_outwards(slices, middle, before):
    """The middle slices, of 10 mm, are measured; the others, of 4 mm, are not."""
    labels = np.zeros((before + slices + 2, 96, 96), np.uint8)
    labels[before : before + slices] = annulus((8, 1, 1), 20, 24)
    labels[[before + z for z in middle]] = annulus((8, 1, 1), 20, 30)
    assert thickness(labels) == pytest.approx(10, abs=0.1)
    labels[before + middle[-1]] = annulus((8, 1, 1), 20, 34)
    assert thickness(labels) == pytest.approx(10 + 4 / len(middle), abs=0.1)


def test_slices_without_the_cavity_or_the_wall_do_not_count():
    labels = annulus((8, 1, 1), 20, 30, slices=6)
    labels[2][labels[2] == CAVITY] = 0
    labels[0][labels[0] == WALL] = 0
    assert thickness(labels) == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize("kept", [[], [CAVITY], [WALL], [1, 3]])
def test_nothing_to_measure(kept):
    labels = annulus((8, 1, 1), 20, 30, slices=3)
    assert math.isnan(thickness(np.where(np.isin(labels, kept), labels, 0)))


def test_slices_with_both_labels_only_at_the_ends_give_no_thickness():
    labels = np.zeros((9, 96, 96), np.uint8)
    labels[[0, 8]] = annulus((8, 1, 1), 20, 30)
    assert math.isnan(thickness(labels))


@pytest.mark.parametrize(
    ("labels", "spacing", "wall"),
    [
        (np.zeros((4, 4), int), (1, 1, 1), WALL),
        (np.zeros((4, 4, 4), int), (1, 1), WALL),
        (np.zeros((4, 4, 4), int), (1, 0, 1), WALL),
        (np.zeros((4, 4, 4), int), (1, 1, 1), CAVITY),
    ],
)
def test_faulty_input_is_refused(labels, spacing, wall):
    with pytest.raises(InputError):
        clinical.wall_thickness(labels, spacing, CAVITY, wall)


def test_measure_gives_volumes_mass_and_thickness():
    labels = annulus((8.0, 1.0, 1.0), 20, 30, slices=3)
    labels = np.select([labels == CAVITY, labels == WALL], [1, 3]).astype(np.uint8)
    measured = clinical.measure(labels, (8.0, 1.0, 1.0), ["LV", "RV", "MYO"], {"cavity": "LV", "myocardium": "MYO"})
    assert list(measured) == ["LV_volume_ml", "RV_volume_ml", "MYO_volume_ml", "MYO_mass_g", "MYO_thickness_mm"]
    assert measured["LV_volume_ml"] == pytest.approx(np.pi * 20**2 * 24 / 1000, rel=0.01)
    assert measured["RV_volume_ml"] == 0
    assert measured["MYO_volume_ml"] == pytest.approx(np.pi * (30**2 - 20**2) * 24 / 1000, rel=0.01)
    assert measured["MYO_mass_g"] == pytest.approx(1.05 * measured["MYO_volume_ml"])
    assert measured["MYO_thickness_mm"] == pytest.approx(10, abs=0.1)
    assert list(clinical.measure(labels, (8.0, 1.0, 1.0), ["LV", "RV", "MYO"], None)) == list(measured)[:3]


def metrics():
    rows = [
        *[
            ("unet", "test", "6", "LV", 1, 90.0, 100.0, None, None),
            ("unet", "test", "6", "MYO", 1, 0.0, 120.0, None, 9.0),
        ],
        *[
            ("unet", "test", "6", "LV", 2, 95.0, 100.0, None, None),
            ("unet", "test", "6", "MYO", 2, 110.0, 120.0, 8.0, 9.0),
        ],
        *[("ensemble", "test", "6", "LV", None, 99.0, 100.0, None, None)],
        *[("ensemble", "test", "6", "MYO", None, 118.0, 120.0, 8.5, 9.0)],
    ]
    columns = ["method", "split", "patient", "structure", "seed", "volume_ml", "volume_truth_ml"]
    columns += ["wall_thickness_mm", "wall_thickness_truth_mm"]
    return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64"}).reindex(columns=measures.COLUMNS)


def test_quantities_of_all_masks_are_gathered():
    table = clinical.quantities(metrics(), "MYO")
    assert list(table) == [
        *("split", "patient", "method", "seed"),
        *("LV_volume_ml", "MYO_volume_ml", "MYO_mass_g", "MYO_thickness_mm"),
    ]
    assert table["method"].tolist() == ["manual", "unet", "unet", "ensemble"]
    assert table["seed"].fillna(0).tolist() == [0, 1, 2, 0]
    assert table["LV_volume_ml"].tolist() == [100, 90, 95, 99]
    assert table["MYO_mass_g"].tolist() == pytest.approx([126, 0, 115.5, 123.9])
    np.testing.assert_array_equal(table["MYO_thickness_mm"], [9, np.nan, 8, 8.5])


@pytest.mark.parametrize("myocardium", [None, "wall"])
def test_only_volumes_are_measured_without_a_myocardium(myocardium):
    table = clinical.quantities(metrics(), myocardium)
    assert list(table)[4:] == ["LV_volume_ml", "MYO_volume_ml"]


def test_table_without_an_evaluated_patient_is_empty():
    table = clinical.quantities(pd.DataFrame(columns=measures.COLUMNS), "MYO")
    assert table.empty
    assert list(table) == clinical.MASK


def test_mask_that_was_not_measured():
    found = metrics()
    found.loc[found["method"] == "ensemble", ["volume_ml", "wall_thickness_mm"]] = np.nan
    table = clinical.quantities(found, "MYO").set_index("method")
    assert table.loc["ensemble"].iloc[3:].isna().all()
    assert table.loc["manual", "LV_volume_ml"] == 100


def test_structure_that_nobody_outlined_has_no_manual_quantity():
    found = metrics()
    found.loc[found["structure"] == "LV", "volume_truth_ml"] = np.nan
    table = clinical.quantities(found, "MYO")
    assert np.isnan(table.loc[0, "LV_volume_ml"]) and table["LV_volume_ml"].tolist()[1:] == [90, 95, 99]
    assert "LV_volume_ml" not in set(bland_altman.agreement(table)["quantity"])
    assert "MYO_mass_g" in set(bland_altman.agreement(table)["quantity"])
