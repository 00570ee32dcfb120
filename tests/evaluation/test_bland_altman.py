import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cardioseg.evaluation import bland_altman, clinical

mpl.use("Agg")
TITLES = {"unet": "U-Net", "ensemble_pp": "Ensemble + PP", "other": "not there"}


def quantities(seeds=(1, 2), patients=5, split="test"):
    rng = np.random.default_rng(0)
    rows = []
    for patient in range(patients):
        volume = rng.uniform(80, 160)
        for method, members in {"manual": [None], "unet": seeds, "ensemble_pp": [None]}.items():
            for seed in members:
                error = 0 if method == "manual" else rng.normal(-8, 4)
                rows.append(
                    (split, str(patient), method, seed, volume + error, 1.05 * (volume + error), 9 + error / 10)
                )
    columns = [*clinical.MASK, "MYO_volume_ml", "MYO_mass_g", "MYO_thickness_mm"]
    return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64"})


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


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_same_quantities_give_the_same_bytes(tmp_path, suffix):
    for name in "ab":
        bland_altman.figure(tmp_path / f"{name}.{suffix}", quantities(), TITLES)
    content = (tmp_path / f"a.{suffix}").read_bytes()
    assert content == (tmp_path / f"b.{suffix}").read_bytes()
    assert not plt.get_fignums()


def texts(monkeypatch, tmp_path, *arguments):
    """Method, agreement, label and number of lines of each panel of a figure."""
    shown = []
    monkeypatch.setattr(bland_altman.plt, "close", shown.append)
    bland_altman.figure(tmp_path / "figure.png", *arguments)
    found = [
        ["".join(text.get_text() for text in axis.texts), axis.get_title(), axis.get_ylabel(), len(axis.lines)]
        for axis in shown[0].axes
    ]
    monkeypatch.undo()
    plt.close("all")
    return found


def test_panels_are_one_per_quantity_and_method(monkeypatch, tmp_path):
    found = texts(monkeypatch, tmp_path, quantities(), TITLES)
    assert [panel[0] for panel in found] == ["U-Net", "Ensemble + PP", "", ""]
    # The mass stands for the volume.
    assert [panel[2].split("\n")[0] for panel in found[::2]] == ["MYO mass", "MYO thickness"]
    assert {panel[3] for panel in found} == {5}
    agreed = bland_altman.agreement(quantities())
    row = agreed[(agreed["method"] == "unet") & (agreed["quantity"] == "MYO_mass_g")].iloc[0]
    assert found[0][1] == f"{row['bias']:+.1f} ± {1.96 * row['sd']:.1f}".replace("-", "\u2212")


def test_largest_split_is_shown(monkeypatch, tmp_path):
    both = pd.concat([quantities(patients=2, split="validation"), quantities(patients=4)])
    found = texts(monkeypatch, tmp_path, both, TITLES)
    alone = texts(monkeypatch, tmp_path, quantities(patients=4), TITLES)
    assert found == alone


def test_one_patient(monkeypatch, tmp_path):
    found = texts(monkeypatch, tmp_path, quantities(patients=1, seeds=(1,)), TITLES)
    assert {panel[3] for panel in found} == {3}


@pytest.mark.parametrize("rows", [0, 1])
def test_figure_without_values_says_so(tmp_path, rows):
    """There is no patient, or only a manual mask."""
    bland_altman.figure(tmp_path / "figure.png", quantities()[:rows], TITLES)
    assert plt.imread(tmp_path / "figure.png").ndim == 3
    assert bland_altman.agreement(quantities()[:rows]).empty
