import numpy as np
import pandas as pd
import pytest

from cardioseg.evaluation import bland_altman, clinical
from clinical_quantities import quantities


def by_hand(**methods):
    """Volumes by method: one list per patient, with one volume per seed."""
    rows = [
        ("test", str(patient), method, seed, volume)
        for method, patients in methods.items()
        for patient, members in enumerate(patients)
        for seed, volume in enumerate(members)
    ]
    return pd.DataFrame(rows, columns=[*clinical.MASK, "LV_volume_ml"])


def test_agreement_by_hand():
    table = bland_altman.agreement(by_hand(manual=[[100], [110], [120]], unet=[[98], [111], [114]]))
    # Differences -2, 1 and -6: mean -7/3, squares about it 1/9 + 100/9 + 121/9.
    sd = np.sqrt(222 / 9 / 2)
    assert len(table) == 1
    assert table.loc[0, ["split", "method", "quantity", "patients"]].tolist() == ["test", "unet", "LV_volume_ml", 3]
    expected = [-7 / 3, sd, -7 / 3 - 1.96 * sd, -7 / 3 + 1.96 * sd]
    assert table.loc[0, ["bias", "sd", "lower", "upper"]].tolist() == pytest.approx(expected)


def test_limits_of_repeated_masks_are_those_of_one():
    """Averaging seeds would hide how much one network varies."""
    rng = np.random.default_rng(1)
    patients, seeds, between, within = 4000, 3, 3.0, 5.0
    means = rng.normal(2, between, patients)
    values = means[:, None] + rng.normal(0, within, (patients, seeds))
    names = pd.Series(np.repeat(np.arange(patients), seeds))
    bias, sd = bland_altman.limits(names, pd.Series(values.ravel()))
    assert bias == pytest.approx(values.mean())
    assert sd == pytest.approx(np.hypot(between, within), rel=0.03)


def test_repeated_masks_by_hand():
    # Means 2 and 6: variance 8; within (1 + 1 + 4 + 4) / 2 = 5, of which the half that the means do not hold.
    bias, sd = bland_altman.limits(pd.Series(["a", "a", "b", "b"]), pd.Series([1.0, 3.0, 4.0, 8.0]))
    assert bias == 4
    assert sd == pytest.approx(np.sqrt(8 + 0.5 * 5))


def test_unequal_numbers_of_masks_by_hand():
    # Means 2 and 4: variance 2; within (1 + 1) / 1 = 2, of which the means hold 1/2 and 1, on average 3/4.
    bias, sd = bland_altman.limits(pd.Series(["a", "a", "b"]), pd.Series([1.0, 3.0, 4.0]))
    assert bias == 3
    assert sd == pytest.approx(np.sqrt(2 + (1 - 3 / 4) * 2))


def test_one_patient_has_no_limits():
    table = bland_altman.agreement(by_hand(manual=[[100]], unet=[[90]]))
    assert table.loc[0, "bias"] == -10
    assert table.loc[0, ["sd", "lower", "upper"]].isna().all()


def test_missing_values_are_left_out():
    missing = float("nan")
    table = bland_altman.agreement(by_hand(manual=[[100], [110], [missing]], unet=[[missing], [120], [130]]))
    assert table[["patients", "bias"]].to_numpy().tolist() == [[1, 10]]
    assert bland_altman.agreement(by_hand(manual=[[100]], unet=[[missing]])).empty


def test_splits_are_analysed_separately():
    both = pd.concat([quantities(), quantities(split="validation", patients=2)])
    table = bland_altman.agreement(both)
    assert table.groupby("split")["patients"].first().to_dict() == {"test": 5, "validation": 2}
    assert len(table) == 2 * 2 * 3


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_to_compare(rows):
    """No patient, or a manual mask alone."""
    assert bland_altman.agreement(quantities()[:rows]).empty
