import numpy as np
import pandas as pd
import pytest

from cardioseg.evaluation import clinical, patient, thirds
from cardioseg.evaluation.measures import COLUMNS, THIRDS_COLUMNS

SPACING = (8.0, 1.0, 1.0)
STRUCTURES = ["LV", "MYO"]
WALL = {"cavity": "LV", "myocardium": "MYO"}


def heart(radius=6):
    """A cavity (1) in a wall (2), three slices."""
    y, x = np.ogrid[:32, :32]
    distance = np.hypot(y - 16, x - 16)
    slices = np.select([distance < radius, distance < radius + 4], [1, 2], 0).astype(np.uint8)
    return np.repeat(slices[None], 3, axis=0)


def test_each_mask_and_structure_has_a_row_in_their_order():
    masks = iter([("registration", None), ("unet/seed2", heart(5)), ("ensemble", heart())])
    table = patient.evaluate(masks, heart(), SPACING, STRUCTURES, WALL).whole
    assert list(table.columns) == [name for name in COLUMNS if name not in ("split", "patient")]
    assert table["method"].tolist() == ["registration"] * 2 + ["unet"] * 2 + ["ensemble"] * 2
    assert table["structure"].tolist() == STRUCTURES * 3
    assert table["seed"].fillna("none").tolist() == ["none"] * 2 + ["2"] * 2 + [""] * 2
    # A method without a mask has nothing but its name.
    assert table.iloc[:2].drop(columns=["method", "structure"]).isna().all(axis=None)
    assert table["dice"].tolist()[4:] == [1, 1]
    # The smaller cavity lies in the larger one.
    smaller, larger = np.count_nonzero(heart(5) == 1), np.count_nonzero(heart() == 1)
    assert table.loc[2, "dice"] == pytest.approx(2 * smaller / (smaller + larger))


def test_thickness_is_that_of_the_wall_alone():
    table = patient.evaluate([("unet", heart(5))], heart(), SPACING, STRUCTURES, WALL).whole.set_index("structure")
    assert table.loc["MYO", "wall_thickness_mm"] == clinical.wall_thickness(heart(5), SPACING, 1, 2)
    assert table.loc["MYO", "wall_thickness_truth_mm"] == clinical.wall_thickness(heart(), SPACING, 1, 2)
    assert table.loc["LV", ["wall_thickness_mm", "wall_thickness_truth_mm"]].isna().all()
    without = patient.evaluate([("unet", heart(5))], heart(), SPACING, STRUCTURES, None).whole
    assert without[["wall_thickness_mm", "wall_thickness_truth_mm"]].isna().all(axis=None)


def test_each_mask_structure_and_third_has_a_row():
    masks = [("registration", None), ("unet/seed2", heart(5))]
    table = patient.evaluate(masks, heart(), SPACING, STRUCTURES, WALL).named("test", "anna").thirds
    assert list(table.columns) == THIRDS_COLUMNS
    assert table["method"].tolist() == ["registration"] * 6 + ["unet"] * 6
    assert table["third"].tolist() == list(thirds.THIRDS) * 4
    assert table["structure"].tolist() == ["LV"] * 3 + ["MYO"] * 3 + ["LV"] * 3 + ["MYO"] * 3
    assert set(table["patient"]) == {"anna"} and set(table["split"]) == {"test"}
    assert table.iloc[:6][["dice", "asd_mm", "hd95_mm", "seed"]].isna().all(axis=None)
    assert table.iloc[6:][["dice", "asd_mm", "hd95_mm"]].notna().all(axis=None)


def test_structure_that_nobody_outlined_has_the_masks_volume_alone():
    """Whereas a structure that this patient merely lacks, but the mask has, is an error with a Dice of 0."""
    without = np.where(heart() == 2, 0, heart())
    masks = [("unet", heart(5))]
    table = patient.evaluate(masks, without, SPACING, STRUCTURES, WALL, ["MYO"])
    lacking = patient.evaluate(masks, without, SPACING, STRUCTURES, WALL)
    wall = table.whole.set_index("structure").loc["MYO"].dropna()
    thickness = clinical.wall_thickness(heart(5), SPACING, 1, 2)
    volume = np.count_nonzero(heart(5) == 2) * 8 / 1000
    assert wall.to_dict() == {"method": "unet", "seed": "", "volume_ml": volume, "wall_thickness_mm": thickness}
    assert table.thirds.query("structure == 'MYO'")["third"].tolist() == list(thirds.THIRDS)
    assert table.thirds.query("structure == 'MYO'")[["dice", "asd_mm", "hd95_mm"]].isna().all(axis=None)
    missed = lacking.whole.set_index("structure").loc["MYO"]
    assert (missed["dice"], missed["volume_truth_ml"]) == (0, 0)
    for one, other in zip(table, lacking, strict=True):
        pd.testing.assert_frame_equal(one.query("structure == 'LV'"), other.query("structure == 'LV'"))
