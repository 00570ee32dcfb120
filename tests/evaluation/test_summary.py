import re

import numpy as np
import pandas as pd
import pytest

from cardioseg.evaluation import measures, summary


def table(rows):
    columns = ["method", "split", "patient", "structure", "dice", "asd_mm", "seed"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(hd95_mm=3 * table["asd_mm"])


def cells(text):
    """The summary's lines as {(split, method): cells}, cut where two spaces part them."""
    header, *lines = [re.split(r"\s{2,}|(?<=\)) (?=\S)", line.strip()) for line in text.splitlines()]
    return header, lines


def test_summary_of_a_few_rows_is_what_it_is_by_hand():
    metrics = table(
        [
            ("unet", "test", "6", "LV", 0.5, 2.0, 1),
            ("unet", "test", "6", "MYO", 0.3, 4.0, 1),
            ("unet", "test", "7", "LV", 0.7, 1.0, 1),
            ("unet", "test", "7", "MYO", 0.5, 2.0, 1),
        ]
    )
    text = summary.by_method(metrics)
    for title in ("Dice LV", "Dice MYO", "Dice AVG", "ASD (mm) LV", "ASD (mm) MYO", "ASD (mm) AVG", "HD95 (mm) AVG"):
        assert title in text.splitlines()[0]
    # Means over patients; spreads of a sample; AVG over the structures of each patient: 0.4, 0.6 and 3, 1.5.
    assert re.findall(r"[\d.]+ \([\d.]+\)", text) == [
        *("0.600 (0.141)", "0.400 (0.141)", "0.500 (0.141)"),
        *("1.500 (0.707)", "3.000 (1.414)", "2.250 (1.061)"),
        *("4.500 (2.121)", "9.000 (4.243)", "6.750 (3.182)"),
    ]
    assert text.splitlines()[1].split()[:3] == ["test", "unet", "2"]


def test_members_are_averaged_before_patients():
    """A patient with two members weighs as much as one with three."""
    rows = [("unet", "test", "6", "LV", 0.2, 1.0, 1), ("unet", "test", "6", "LV", 0.4, 3.0, 2)]
    rows += [("unet", "test", "7", "LV", 0.9, 4.0, seed) for seed in (1, 2, 3)]
    text = summary.by_method(table(rows))
    assert (
        re.findall(r"[\d.]+ \([\d.]+\)", text) == ["0.600 (0.424)"] * 2 + ["3.000 (1.414)"] * 2 + ["9.000 (4.243)"] * 2
    )


def test_missing_distance_is_not_available():
    rows = [("unet", "test", patient, "LV", 0.5, 1.0, 1) for patient in "67"]
    rows += [("unet", "test", "6", "RV", 0.0, np.nan, 1), ("unet", "test", "7", "RV", 0.8, 1.0, 1)]
    text = summary.by_method(table(rows))
    assert re.findall(r"[\d.]+ \([\d.]+\)|N/A", text) == [
        *("0.500 (0.000)", "0.400 (0.566)", "0.450 (0.283)"),
        *("1.000 (0.000)", "N/A", "N/A"),
        *("3.000 (0.000)", "N/A", "N/A"),
    ]


def test_structure_that_is_neither_there_nor_found_does_not_count():
    rows = [("unet", "test", patient, "LV", 0.6, 1.0, 1) for patient in "67"]
    rows += [("unet", "test", "6", "RV", np.nan, np.nan, 1), ("unet", "test", "7", "RV", 0.8, 1.0, 1)]
    assert re.findall(r"[\d.]+ \([\d.]+\)|N/A", summary.by_method(table(rows))) == [
        *("0.600 (0.000)", "0.650 (0.071)"),
        *("1.000 (0.000)", "N/A", "N/A"),
        *("3.000 (0.000)", "N/A", "N/A"),
    ]


def test_patient_without_a_mask_does_not_count():
    """Registration needs source labels, which not every patient has."""
    rows = [("registration", "test", "6", name, 0.5, 1.0, None) for name in ("LV", "MYO")]
    rows += [("registration", "test", "7", name, np.nan, np.nan, None) for name in ("LV", "MYO")]
    rows += [("registration", "validation", "7", name, np.nan, np.nan, None) for name in ("LV", "MYO")]
    _, with_mask, without = summary.by_method(table(rows)).splitlines()
    assert with_mask.split()[:3] == ["test", "registration", "1"]
    assert with_mask.split()[3:] == ["0.500"] * 3 + ["1.000"] * 3 + ["3.000"] * 3
    assert without.split() == ["validation", "registration", "0", *["N/A"] * 9]


def test_missing_in_one_member_is_not_available():
    rows = [("unet", "test", "6", "LV", 0.5, 1.0, 1), ("unet", "test", "6", "LV", 0.0, np.nan, 2)]
    assert summary.by_method(table(rows)).split()[-6:] == ["0.250"] * 2 + ["N/A"] * 4


def test_rows_and_columns_keep_their_order():
    rows = [
        (method, split, patient, structure, 0.5, 1.0, None)
        for split in ("validation", "test")
        for method in ("unet", "cascade_ft", "ensemble")
        for patient in ("10", "9")
        for structure in ("RV", "LV", "MYO")
    ]
    header, *lines = summary.by_method(table(rows)).splitlines()
    assert re.findall("Dice [A-Z]+", header) == ["Dice RV", "Dice LV", "Dice MYO", "Dice AVG"]
    assert [line.split()[:2] for line in lines] == [
        [split, method] for split in ("validation", "test") for method in ("unet", "cascade_ft", "ensemble")
    ]


def test_summary_of_a_table_that_was_read_from_a_file(tmp_path):
    header = "method,split,patient,structure,dice,asd_mm,seed,hd95_mm\n"
    (tmp_path / "metrics.csv").write_text(
        f"{header}ensemble,test,06,LV,0.5,N/A,,N/A\nensemble,test,7,LV,0.7,1.0,,3.0\n"
    )
    metrics = measures.read(tmp_path / "metrics.csv")
    assert metrics["patient"].tolist() == ["06", "7"]
    result = summary.by_method(metrics)
    assert "0.600 (0.141)" in result
    assert "N/A" in result


@pytest.mark.parametrize("columns", [summary.COLUMNS, []])
def test_nothing_evaluated(columns):
    assert summary.by_method(pd.DataFrame(columns=columns)) == "no patient with labels: nothing evaluated"


def test_columns_begin_as_agreed():
    assert summary.COLUMNS[:6] == ["method", "split", "patient", "structure", "dice", "asd_mm"]
