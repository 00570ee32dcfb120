import re

import numpy as np
import pandas as pd
import pytest

import metric_tables
from cardioseg.evaluation import measures, methods, summary, tables

pytestmark = pytest.mark.usefixtures("known_measures")


def table(rows):
    return metric_tables.metrics("method split patient structure dice asd_mm seed", rows)


def cells(text):
    """The tables as {split: {method: {column: cell}}}."""
    found = {}
    for block in text.split("\n\n"):
        split, *columns = re.split(r"\s{2,}", (lines := block.splitlines())[0].strip())
        rows = [re.split(r"\s{2,}", line) for line in lines[1:]]
        found[split] = {method: dict(zip(columns, values, strict=True)) for method, *values in rows}
    return found


def test_summary_of_a_few_rows_is_what_it_is_by_hand():
    metrics = table(
        [
            ("unet", "test", "6", "LV", 0.5, 2.0, 1),
            ("unet", "test", "6", "MYO", 0.3, 4.0, 1),
            ("unet", "test", "7", "LV", 0.7, 1.0, 1),
            ("unet", "test", "7", "MYO", 0.5, 2.0, 1),
        ]
    )
    # Means over patients; spreads of a sample; AVG over the structures of each patient: 0.4, 0.6 and 3, 1.5.
    row = {"patients": "2", "Dice LV": "0.600", "Dice MYO": "0.400", "Dice AVG": "0.500 (0.141)"}
    row |= {"ASD (mm) AVG": "2.25 (1.06)", "HD95 (mm) AVG": "6.75 (3.18)"}
    assert cells(summary.by_method(metrics)) == {"test": {"unet": row}}


def test_summary_of_all_methods_fits_a_terminal_of_120_columns():
    """With the longest names and values of a heart."""
    rows = [
        (method.name, split, patient, structure, 0.5 + 0.1 * (patient == "7"), distance, None)
        for split in ("validation", "test")
        for method in methods.METHODS
        for patient, distance in (("6", 100.0), ("7", 10.0))
        for structure in ("LV", "MYO", "RV")
    ]
    text = summary.by_method(table(rows))
    assert [(split, list(found)) for split, found in cells(text).items()] == [
        (split, list(methods.titles())) for split in ("validation", "test")
    ]
    assert "165.00 (190.92)" in text
    assert max(map(len, text.splitlines())) <= 120


def test_members_are_averaged_before_patients():
    """A patient with two members weighs as much as one with three."""
    rows = [("unet", "test", "6", "LV", 0.2, 1.0, 1), ("unet", "test", "6", "LV", 0.4, 3.0, 2)]
    rows += [("unet", "test", "7", "LV", 0.9, 4.0, seed) for seed in (1, 2, 3)]
    row = cells(summary.by_method(table(rows)))["test"]["unet"]
    assert (row["Dice AVG"], row["ASD (mm) AVG"], row["HD95 (mm) AVG"]) == (
        *("0.600 (0.424)", "3.00 (1.41)", "9.00 (4.24)"),
    )


def test_missing_distance_is_not_available():
    rows = [("unet", "test", patient, "LV", 0.5, 1.0, 1) for patient in "67"]
    rows += [("unet", "test", "6", "RV", 0.0, np.nan, 1), ("unet", "test", "7", "RV", 0.8, 1.0, 1)]
    row = cells(summary.by_method(table(rows)))["test"]["unet"]
    assert (row["Dice RV"], row["Dice AVG"]) == ("0.400", "0.450 (0.283)")
    assert row["ASD (mm) AVG"] == row["HD95 (mm) AVG"] == "N/A"


def test_distance_to_a_structure_that_the_manual_mask_lacks_does_not_count():
    """As in Table 1: the method that draws it has a Dice of 0 there, and its distances are those of the others."""
    rows = [("unet", "test", patient, "LV", 0.5, 1.0, 1, 100.0) for patient in "67"]
    rows += [("unet", "test", "6", "RV", 0.0, np.nan, 1, 0.0), ("unet", "test", "7", "RV", 0.8, 2.0, 1, 100.0)]
    metrics = metric_tables.metrics("method split patient structure dice asd_mm seed volume_truth_ml", rows)
    row = cells(summary.by_method(metrics))["test"]["unet"]
    assert (row["Dice RV"], row["ASD (mm) AVG"], row["HD95 (mm) AVG"]) == ("0.400", "1.25 (0.35)", "3.75 (1.06)")
    assert tables.table1(metrics, published=False)["asd_mm_AVG"].tolist() == [1.25]


def test_structure_that_is_neither_there_nor_found_does_not_count():
    rows = [("unet", "test", patient, "LV", 0.6, 1.0, 1) for patient in "67"]
    rows += [("unet", "test", "6", "RV", np.nan, np.nan, 1), ("unet", "test", "7", "RV", 0.8, 1.0, 1)]
    row = cells(summary.by_method(table(rows)))["test"]["unet"]
    assert (row["Dice LV"], row["Dice RV"], row["Dice AVG"]) == ("0.600", "0.800", "0.650 (0.071)")
    assert (row["ASD (mm) AVG"], row["HD95 (mm) AVG"]) == ("1.00 (0.00)", "3.00 (0.00)")


def test_structure_that_nobody_outlined_is_left_out_of_the_averages():
    rows = [("unet", "test", patient, "LV", 0.6, 1.0, 1) for patient in "67"]
    rows += [("unet", "test", patient, "RV", np.nan, np.nan, 1) for patient in "67"]
    row = cells(summary.by_method(table(rows)))["test"]["unet"]
    assert list(row.values()) == ["2", "0.600", "N/A", "0.600 (0.000)", "1.00 (0.00)", "3.00 (0.00)"]


def test_patient_without_a_mask_does_not_count():
    """Registration needs source labels, which not every patient has."""
    rows = [("registration", "test", "6", name, 0.5, 1.0, None) for name in ("LV", "MYO")]
    rows += [("registration", "test", "7", name, np.nan, np.nan, None) for name in ("LV", "MYO")]
    rows += [("registration", "validation", "7", name, np.nan, np.nan, None) for name in ("LV", "MYO")]
    found = cells(summary.by_method(table(rows)))
    assert list(found["test"]["registration"].values()) == ["1", "0.500", "0.500", "0.500", "1.00", "3.00"]
    assert list(found["validation"]["registration"].values()) == ["0", *["N/A"] * 5]


def test_missing_in_one_member_is_not_available():
    rows = [("unet", "test", "6", "LV", 0.5, 1.0, 1), ("unet", "test", "6", "LV", 0.0, np.nan, 2)]
    row = cells(summary.by_method(table(rows)))["test"]["unet"]
    assert list(row.values()) == ["1", "0.250", "0.250", "N/A", "N/A"]


def test_rows_and_columns_keep_their_order():
    rows = [
        (method, split, patient, structure, 0.5, 1.0, None)
        for split in ("validation", "test")
        for method in ("unet", "of another run", "ensemble")
        for patient in ("10", "9")
        for structure in ("RV", "LV", "MYO")
    ]
    found = cells(summary.by_method(table(rows)))
    assert [(split, list(of_split)) for split, of_split in found.items()] == [
        (split, ["unet", "of another run", "ensemble"]) for split in ("validation", "test")
    ]
    assert list(found["test"]["unet"])[1:5] == ["Dice RV", "Dice LV", "Dice MYO", "Dice AVG"]


def test_summary_of_a_table_that_was_read_from_a_file(tmp_path):
    header = "method,split,patient,structure,dice,asd_mm,seed,hd95_mm,volume_truth_ml\n"
    (tmp_path / "metrics.csv").write_text(
        f"{header}ensemble,test,06,LV,0.5,N/A,,N/A,90\nensemble,test,7,LV,0.7,1.0,,3.0,90\n"
    )
    metrics = measures.read(tmp_path / "metrics.csv")
    assert metrics["patient"].tolist() == ["06", "7"]
    result = summary.by_method(metrics)
    assert "0.600 (0.141)" in result
    assert "N/A" in result


@pytest.mark.parametrize("columns", [measures.COLUMNS, []])
def test_summary_says_that_nothing_was_evaluated(columns):
    assert summary.by_method(pd.DataFrame(columns=columns)) == "no patient with labels: nothing evaluated"


def test_first_columns_of_metrics_csv_stay_the_same():
    assert measures.COLUMNS[:6] == ["method", "split", "patient", "structure", "dice", "asd_mm"]
