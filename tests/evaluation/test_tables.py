import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

import metric_tables
from cardioseg.evaluation import measures, methods, tables

pytestmark = pytest.mark.usefixtures("known_measures")
NONE = float("nan")


def metrics(*rows):
    """Rows (method, seed, patient, structure, dice, asd), of the test split or a seventh entry's; truth of 100 ml."""
    return metric_tables.metrics(
        "method seed patient structure dice asd_mm split",
        [row if len(row) > 6 else (*row, "test") for row in rows],
    )


def by_hand():
    """Two patients, two structures, two seeds of one method and one without."""
    return metrics(
        ("unet", 1, "6", "LV", 0.5, 2.0),
        ("unet", 1, "6", "MYO", 0.3, 4.0),
        ("unet", 1, "7", "LV", 0.7, 1.0),
        ("unet", 1, "7", "MYO", 0.5, 2.0),
        ("unet", 2, "6", "LV", 0.7, 4.0),
        ("unet", 2, "6", "MYO", 0.5, 6.0),
        ("unet", 2, "7", "LV", 0.9, 1.0),
        ("unet", 2, "7", "MYO", 0.5, 2.0),
        ("ensemble_pp", None, "6", "LV", 0.8, 1.0),
        ("ensemble_pp", None, "6", "MYO", 0.6, 3.0),
        ("ensemble_pp", None, "7", "LV", 0.9, 1.0),
        ("ensemble_pp", None, "7", "MYO", 0.8, 1.0),
    )


def cells(text):
    """The cells of a Markdown table's rows, by the first cell."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1
    return {row[0]: row[1:] for row in rows}


def test_numbers_of_table_1_are_what_they_are_by_hand():
    table = tables.table1(by_hand(), published=False).set_index("method")
    assert list(table.index) == ["unet", "ensemble_pp"]
    unet, ensemble = table.loc["unet"], table.loc["ensemble_pp"]
    # Seeds: LV 0.6, 0.8; MYO 0.4, 0.5; AVG 0.5, 0.65. Patients: LV 0.6, 0.8; MYO 0.4, 0.5; AVG 0.5, 0.65.
    root = np.sqrt(2)
    expected = {
        "dice_LV": 0.7,
        "dice_MYO": 0.45,
        "dice_AVG": 0.575,
        "asd_mm_LV": 2.0,
        "asd_mm_MYO": 3.5,
        "asd_mm_AVG": 2.75,
    }
    expected |= {"dice_LV_sd_seeds": 0.2 / root, "dice_MYO_sd_seeds": 0.1 / root, "dice_AVG_sd_seeds": 0.15 / root}
    expected |= {"asd_mm_LV_sd_seeds": 1 / root, "asd_mm_MYO_sd_seeds": 1 / root}
    expected |= {
        "dice_LV_sd_patients": 0.2 / root,
        "asd_mm_LV_sd_patients": 2 / root,
        "asd_mm_AVG_sd_patients": 2.5 / root,
    }
    assert unet[list(expected)].astype(float).to_dict() == pytest.approx(expected)
    assert unet[["patients", "seeds", "dice_LV_available", "dice_LV_due"]].tolist() == [2, 2, 4, 4]
    assert ensemble["dice_AVG"] == pytest.approx(0.775)
    assert ensemble[["patients", "seeds", "asd_mm_AVG_due"]].tolist() == [2, 1, 2]
    assert np.isnan(ensemble["dice_LV_sd_seeds"])


def test_means_come_first():
    columns = list(tables.table1(by_hand(), published=False))
    assert columns[:5] == tables.COLUMNS
    assert columns[5:11] == ["dice_LV", "dice_MYO", "dice_AVG", "asd_mm_LV", "asd_mm_MYO", "asd_mm_AVG"]


def test_markdown_by_hand():
    text = tables.markdown(by_hand(), published=False)
    found = cells(text)
    assert "## Test: 2 patients, 2 seeds" in text
    assert found["Method"] == [
        f"{measure} {name}" for measure in ("Dice", "ASD (mm)", "HD95 (mm)") for name in ("LV", "MYO", "AVG")
    ]
    assert found["U-Net"][:4] == [
        *("0.700 ± 0.141 (0.141)", "0.450† ± 0.071 (0.071)", "0.575† ± 0.106 (0.106)", "2.00 ± 1.41 (0.71)"),
    ]
    assert found["Ensemble + PP"][0] == "**0.850** ± 0.071"
    assert "not tested: fewer than 5 patients" in text
    assert "published" not in text


def test_html_says_what_markdown_says():
    page = ElementTree.fromstring(tables.html(by_hand(), published=False).removeprefix("<!DOCTYPE html>"))
    lines = [["".join(cell.itertext()) for cell in line] for line in page.iter("tr")]
    found = cells(tables.markdown(by_hand(), published=False))
    del found["---"]
    plain = {title: [cell.replace("*", "").replace(" ", "") for cell in line] for title, line in found.items()}
    assert [title for title, *_ in lines] == list(plain)
    for title, *line in lines:
        assert [cell.replace(" ", "") for cell in line] == plain[title]
    assert next(page.iter("strong")).text == "0.850"


def test_patients_weigh_the_same_in_every_seed():
    """The mean over patients is taken for each seed, then the mean over seeds."""
    found = metrics(
        *[("unet", 1, patient, "LV", 0.4, 1.0) for patient in "67"],
        *[("unet", 2, patient, "LV", 0.8, 2.0) for patient in "67"],
    )
    row = tables.table1(found, published=False).iloc[0]
    assert row["dice_LV"] == pytest.approx(0.6)
    assert row["dice_LV_sd_patients"] == 0
    assert row["dice_LV_sd_seeds"] == pytest.approx(0.4 / np.sqrt(2))


def test_missed_structure_has_dice_0_and_no_distance():
    """The Dice of 0 counts. The ASD and its average leave it out, show how many remain, and are not marked best."""
    found = metrics(
        *[("unet", 1, patient, "LV", 0.8, 1.0) for patient in "678"],
        *[
            ("unet", 1, patient, "RV", dice, asd)
            for patient, dice, asd in (("6", 0.9, 0.5), ("7", 0.9, 0.5), ("8", 0, NONE))
        ],
        *[("unet_ft", 1, patient, "LV", 0.7, 2.0) for patient in "678"],
        *[("unet_ft", 1, patient, "RV", 0.7, 2.0) for patient in "678"],
    )
    row = tables.table1(found, published=False).iloc[0]
    assert row["dice_RV"] == pytest.approx(0.6)
    assert row["asd_mm_RV"] == pytest.approx(0.5)
    assert row["asd_mm_AVG"] == pytest.approx(0.75)
    assert row[["asd_mm_RV_available", "asd_mm_RV_due", "dice_RV_available"]].tolist() == [2, 3, 3]
    unet, fine_tuned = (cells(tables.markdown(found, published=False))[title] for title in ("U-Net", "U-Net (FT)"))
    assert unet[4] == "0.50 [2/3] ± 0.00"
    assert unet[5] == "0.75 [2/3] ± 0.00"
    assert fine_tuned[3:] == [
        *("2.00 ± 0.00", "**2.00** ± 0.00", "**2.00** ± 0.00"),
        *("6.00 ± 0.00", "**6.00** ± 0.00", "**6.00** ± 0.00"),
    ]
    assert unet[3] == "**1.00** ± 0.00"


def test_structure_that_a_patient_lacks_is_not_counted_as_due():
    found = metrics(*[("unet", 1, patient, name, 0.8, 1.0) for patient in "67" for name in ("LV", "RV")])
    absent = (found["patient"] == "7") & (found["structure"] == "RV")
    found.loc[absent, ["dice", "asd_mm", "volume_truth_ml"]] = [NONE, NONE, 0.0]
    row = tables.table1(found, published=False).iloc[0]
    assert row[["dice_RV_available", "dice_RV_due", "asd_mm_AVG_available", "asd_mm_AVG_due"]].tolist() == [1, 1, 2, 2]
    assert "[" not in "".join(cells(tables.markdown(found, published=False))["U-Net"])
    # Found where it is not: Dice 0, and no surface to be distant from.
    found.loc[absent, "dice"] = 0.0
    row = tables.table1(found, published=False).iloc[0]
    assert row["dice_RV"] == pytest.approx(0.4)
    assert row[["dice_RV_available", "dice_RV_due", "asd_mm_RV_available", "asd_mm_RV_due"]].tolist() == [2, 2, 1, 1]


def test_structure_that_nobody_outlined_is_not_available_and_left_out_of_the_average():
    found = metrics(*[("unet", 1, patient, name, 0.8, 1.0) for patient in "67" for name in ("LV", "RV")])
    nobody = found["structure"] == "RV"
    found.loc[nobody, ["dice", "asd_mm", "hd95_mm", "volume_truth_ml"]] = NONE
    text = tables.markdown(found, published=False)
    assert cells(text)["U-Net"] == [
        *("**0.800** ± 0.000", "N/A", "**0.800** ± 0.000"),
        *("**1.00** ± 0.00", "N/A", "**1.00** ± 0.00"),
        *("**3.00** ± 0.00", "N/A", "**3.00** ± 0.00"),
    ]
    note = "RV: N/A, since no manual mask has it. AVG is without it."
    assert note in text and note in tables.html(found, published=False) and note in tables.latex(found, published=False)
    assert "N/A, since" not in tables.markdown(by_hand(), published=False)
    # One manual mask with the structure makes it one that others may miss.
    found.loc[nobody & (found["patient"] == "6"), "volume_truth_ml"] = 100.0
    assert "N/A, since" not in tables.markdown(found, published=False)
    assert tables.table1(found, published=False).iloc[0][["dice_RV_available", "dice_RV_due"]].tolist() == [0, 1]


@pytest.mark.parametrize("listed", [True, False])
def test_patients_that_a_method_cannot_do(listed):
    """The method has rows of N/A, or no rows."""
    rows = [("unet", 1, patient, "LV", 0.8, 1.0) for patient in "67"] + [("registration", None, "6", "LV", 0.9, 0.5)]
    rows += [("registration", None, "7", "LV", NONE, NONE)] if listed else []
    found = metrics(*rows)
    text = cells(tables.markdown(found, published=False))
    assert list(text)[2:] == ["Registration", "U-Net"]
    assert text["Registration"][0] == "0.900 [1/2]"
    assert text["U-Net"][0] == "**0.800** ± 0.000"


def test_method_without_any_value_is_not_available():
    rows = [("unet", 1, patient, "LV", 0.8, 1.0) for patient in "67"]
    rows += [("registration", None, patient, "LV", NONE, NONE) for patient in "67"]
    assert cells(tables.markdown(metrics(*rows), published=False))["Registration"] == ["N/A"] * 6
    assert "Registration & N/A & N/A & N/A & N/A & N/A & N/A \\\\" in tables.latex(metrics(*rows), published=False)
    row = tables.table1(metrics(*rows), published=False).iloc[0]
    assert row[["dice_LV_available", "dice_LV_due"]].tolist() == [0, 2]


def test_rows_have_the_papers_order():
    names = [*methods.parts(), *reversed(methods.reported()), "some_other"]
    found = metrics(*[(method, None, "6", "LV", 0.8, 1.0) for method in names])
    titles = list(cells(tables.markdown(found, published=False)))[2:]
    expected = [*methods.reported().values(), "*Parts and extensions*", *methods.parts().values(), r"some\_other"]
    assert titles == expected
    assert r"some\_other &" in tables.latex(found, published=False)


def test_parts_of_a_method_are_not_marked_as_best():
    found = metrics(("ensemble", None, "6", "LV", 0.95, 0.1), ("ensemble_pp", None, "6", "LV", 0.9, 1.0))
    text = cells(tables.markdown(found, published=False))
    assert text["Ensemble"] == ["0.950", "0.950", "0.10", "0.10", "0.30", "0.30"]
    assert text["Ensemble + PP"][0] == "**0.900**"


def test_best_and_significant_values_are_marked_by_their_printed_digits():
    found = metrics(
        *[("unet", 1, "6", "LV", 0.69961, 1.001), ("unet_ft", 1, "6", "LV", 0.70041, 1.004)],
        *[("cascade_ft", 1, "6", "LV", 0.6994, 1.006)],
    )
    text = cells(tables.markdown(found, published=False))
    assert [row[0] for row in list(text.values())[2:]] == ["**0.700**", "**0.700**", "0.699†"]
    assert [row[2] for row in list(text.values())[2:]] == ["**1.00**", "**1.00**", "1.01"]
    # NumPy rounds the first one to 0.850.
    halves = metrics(("unet", 1, "6", "LV", 0.8505, 1.0), ("unet_ft", 1, "6", "LV", 0.8513, 1.0))
    text = cells(tables.markdown(halves, published=False))
    assert [row[0] for row in list(text.values())[2:]] == ["**0.851**", "**0.851**"]


def test_published_figures_stand_beside_the_methods_that_have_them():
    patients = [("6", "test"), ("1", "validation")]
    found = metrics(
        *[
            (method, None, patient, name, 0.8, 1.0, split)
            for patient, split in patients
            for method in ("unet", "ensemble", "ensemble_pp")
            for name in ("RV", "LV", "MYO")
        ]
    )
    table = tables.table1(found, published=True)
    own, paper = (table[table["source"] == source] for source in ("this cohort", "Chen et al. 2019"))
    assert len(own) == 6
    assert paper[["split", "method"]].to_numpy().tolist() == [["test", "ensemble_pp"], ["validation", "unet"]]
    assert paper["dice_LV"].tolist() == [0.92, 0.624]
    assert paper["asd_mm_MYO"].tolist() == [1.76, 6.07]
    assert paper[["asd_mm_RV", "asd_mm_AVG"]].to_numpy().tolist()[0][0] == 2.16
    assert np.isnan(paper.iloc[1]["asd_mm_RV"])
    text = tables.markdown(found, published=True)
    assert "| *as published* | *0.88* | *0.92* | *0.83* | *-* | *2.16* | *1.66* | *1.76* | *-* |" in text
    assert "| *as published* | *0.577* | *0.624* | *0.441* | *0.547* | *N/A* | *10.03* | *6.07* | *N/A* |" in text
    assert "Chen et al. 2019" in text
    assert r"\emph{as published} & \emph{0.88}" in tables.latex(found, published=True)


def test_published_figures_are_those_of_the_paper():
    for figures in tables.PUBLISHED.values():
        assert len(figures.split()) == len(tables.PUBLISHED_COLUMNS)
    for (split, method), figures in tables.PUBLISHED.items():
        *dice, average = map(float, figures.replace("-", "nan").replace("N/A", "nan").split()[:4])
        assert split == "test" or average == pytest.approx(np.mean(dice), abs=0.0011), method


def test_other_structures_have_no_published_figures():
    found = metrics(("unet", 1, "6", "wall", 0.8, 1.0, "validation"))
    text = tables.markdown(found, published=True)
    assert "| *as published* |  | *0.547* |  | *N/A* |" in text


def significant(patients):
    rng = np.random.default_rng(0)
    rows = []
    for patient in range(patients):
        dice = rng.uniform(0.4, 0.6)
        rows += [
            ("unet", 1, str(patient), "LV", dice, 3 + dice),
            ("unet_ft", 1, str(patient), "LV", dice + 0.2, 3 + dice),
        ]
    return metrics(*rows)


def test_significant_differences_are_marked():
    text = tables.markdown(significant(8), published=False)
    assert "‡" in cells(text)["U-Net (FT)"][0]
    assert "‡" not in cells(text)["U-Net (FT)"][2]
    assert "‡" not in "".join(cells(text)["U-Net"])
    assert "8 patients cannot give an uncorrected p below 0.0078" in text
    assert "5 patients cannot give" in tables.markdown(significant(5), published=False)
    assert "not tested: fewer than 5 patients" in tables.markdown(significant(4), published=False)


def test_methods_are_compared_with_the_one_above_and_the_last():
    names = ["unet", "unet_ft", "cascade_ft", "ensemble_pp", "ensemble", "cascade_ft_crf", "registration_none"]
    found = metrics(*[(method, None, "6", "LV", 0.8, 1.0) for method in names])
    table = tables.comparisons(tables.values(found))
    first = table[(table["measure"] == "dice") & (table["structure"] == "LV")]
    assert first[["method", "compared_with"]].to_numpy().tolist() == [
        *(["unet_ft", "unet"], ["cascade_ft", "unet_ft"], ["ensemble_pp", "cascade_ft"]),
        *(["ensemble_pp", "unet"], ["ensemble_pp", "unet_ft"]),
        *(["cascade_ft_crf", "cascade_ft"], ["ensemble_pp", "ensemble"]),
    ]
    assert set(table["structure"]) == {"LV", "AVG"}


@pytest.mark.parametrize("published", [True, False])
def test_latex_is_balanced(published):
    found = pd.concat([by_hand(), by_hand().assign(split="validation"), by_hand().assign(method="a_b&c%")])
    text = tables.latex(found, published)
    assert text.isascii()
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert text.count("$") % 2 == 0
    begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
    assert sorted(begun) == sorted(ended)
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {9}
    assert r"a\_b\&c\%" in text
    # LaTeX takes a bracket at the beginning of a line for the argument of the line break before it.
    assert not re.search(r"^\s*\[", text, re.MULTILINE)


def test_one_split_gives_one_table():
    text = tables.markdown(by_hand().assign(split="validation"), published=False)
    assert re.findall("^## (.*)$", text, re.MULTILINE) == ["Validation: 2 patients, 2 seeds"]
    assert tables.latex(by_hand(), published=False).count(r"\begin{table}") == 1


def test_one_patient_and_seed_have_a_mean_without_spread():
    text = tables.markdown(metrics(("unet", 3, "6", "LV", 0.8, 1.0)), published=False)
    assert "## Test: 1 patient, 1 seed\n" in text
    assert cells(text)["U-Net"] == ["**0.800**", "**0.800**", "**1.00**", "**1.00**", "**3.00**", "**3.00**"]


@pytest.mark.parametrize("published", [True, False])
def test_tables_say_that_nothing_was_evaluated(published):
    empty = pd.DataFrame(columns=measures.COLUMNS)
    assert list(tables.table1(empty, published)) == tables.COLUMNS
    assert tables.NOTHING in tables.markdown(empty, published)
    assert tables.latex(empty, published).startswith("% ")
    assert tables.comparisons(tables.values(empty)).empty
