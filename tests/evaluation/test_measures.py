"""Names of patients and structures that look like something else stay names, from the tables to the figures."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardioseg.evaluation import bland_altman, clinical, measures, methods, summary, tables
from cardioseg.figures import distributions, worst

LIKE_OTHERS = [
    "NA",
    "nan",
    "NaN",
    "None",
    "null",
    "NULL",
    "N/A",
    "n/a",
    "",
    "1e5",
    "007",
    "7",
    "7.0",
    "True",
    "-inf",
    "#N/A",
]


def table_of(patients, structures=("LV", "MYO")):
    """Two methods of one and two seeds, each of all patients and structures."""
    rng = np.random.default_rng(0)
    rows = [
        {"method": method, "split": "test", "patient": patient, "structure": structure, "seed": seed}
        for patient in patients
        for method, seeds in (("registration", [""]), ("cascade_ft", [1, 2]), ("ensemble_pp", [""]))
        for seed in seeds
        for structure in structures
    ]
    table = pd.DataFrame(rows, columns=measures.COLUMNS)
    numbers = table.columns.difference([*measures.NAMES, "seed"])
    return table.assign(**{column: rng.uniform(0.1, 0.9, len(table)) for column in numbers})


def stored(table, folder):
    """As the workflow writes and reads a table."""
    path = folder / "metrics.csv"
    table.to_csv(path, index=False, float_format="%.6f", na_rep="N/A")
    return measures.read(path)


def test_patients_of_any_name_are_counted(tmp_path):
    """Results are the same as for patients with plain names."""
    plain = [f"p{index}" for index in range(len(LIKE_OTHERS))]
    expected = stored(table_of(plain), tmp_path)
    found = stored(table_of(LIKE_OTHERS), tmp_path)
    assert list(dict.fromkeys(found["patient"])) == LIKE_OTHERS
    assert summary.by_method(found) == summary.by_method(expected)
    pd.testing.assert_frame_equal(tables.table1(found, published=True), tables.table1(expected, published=True))
    names = dict(zip(plain, LIKE_OTHERS, strict=True))
    quantities = [clinical.quantities(table, "MYO") for table in (found, expected)]
    pd.testing.assert_frame_equal(quantities[0], quantities[1].replace({"patient": names}))
    pd.testing.assert_frame_equal(*map(bland_altman.agreement, quantities))
    poorest = [list(worst.worst_patients(table, "ensemble_pp", 20).index) for table in (found, expected)]
    assert poorest[0] == [names[name] for name in poorest[1]]


@pytest.mark.parametrize("name", ["NA", "null", "None"])
def test_structures_of_any_name_are_counted(tmp_path, name):
    table = stored(table_of(["a", "b"], ["LV", name]), tmp_path)
    assert f"Dice {name}" in summary.by_method(table)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=8))
def test_a_name_is_read_as_it_was_written(tmp_path_factory, name):
    table = stored(table_of([name]), tmp_path_factory.getbasetemp())
    assert set(table["patient"]) == {name}
    assert table["dice"].notna().all()


def test_another_measure_is_shown_in_every_table_and_in_the_distributions(monkeypatch):
    monkeypatch.setitem(measures.MEASURES, "added", measures.Measure("added", "Added measure", 3, is_overlap=True))
    table = table_of(["a", "b"]).assign(added=0.123)
    assert "Added measure AVG" in summary.by_method(table)
    assert {"added_LV", "added_AVG"} <= set(tables.table1(table, published=False))
    for written in (tables.markdown, tables.html, tables.latex):
        text = written(table, published=False)
        assert "Added measure" in text
        assert "0.123" in text
    assert set(tables.comparisons(tables.values(table))["measure"]) == set(measures.MEASURES)
    figure = distributions.figure(table, methods.reported())
    assert "Added measure" in {axis.get_ylabel() for axis in figure.axes}


def test_what_is_not_available_is_no_number(tmp_path):
    table = table_of(["NA"])
    table.loc[0, ["dice", "wall_thickness_mm"]] = np.nan
    found = stored(table, tmp_path)
    assert found["dice"].isna().sum() == 1
    assert found["dice"].dtype == found["wall_thickness_mm"].dtype == float
    assert found["seed"].dtype == "Int64"
    assert list(found["seed"].dropna()) == [1, 1, 2, 2]
