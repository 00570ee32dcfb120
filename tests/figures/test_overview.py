import re

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from cardioseg.evaluation import measures, metrics, patient
from cardioseg.figures import overview

SHOWN = ("ensemble_pp", "ensemble, post-processed")
STRUCTURES = ["LV", "MYO"]


def agreement(name, radius):
    y, x = np.ogrid[:40, :40]
    distance = np.hypot(y - 20, x - 20)
    truth, mask = (
        np.repeat(np.select([distance < inner, distance < inner + 5], [1, 2], 0)[None], 6, axis=0)
        for inner in (9, radius)
    )
    found = patient.evaluate([("ensemble_pp", mask)], truth, (8.0, 1.0, 1.0), STRUCTURES, None)
    return found.named("test", name)


@pytest.fixture
def cohort():
    rows = [
        ("bSSFP", "1", "labelled translation_source", 9, "yes", "yes"),
        ("bSSFP", "<b>", "translation_source", 11, "no", "no"),
        ("LGE", "1", "test", 10, "yes", "yes"),
    ]
    return pd.DataFrame(rows, columns=["modality", "patient", "splits", "slices", "labels", "located"])


def page(cohort, tmp_path, found):
    matplotlib.image.imsave(tmp_path / "figure.png", np.random.default_rng(1).random((300, 1500, 3)))
    whole, thirds = (pd.concat(tables, ignore_index=True) for tables in zip(*found, strict=True))
    return overview.page(cohort, whole, thirds, "histogram matching", False, SHOWN, tmp_path / "figure.png")


def rows(text):
    return [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)]


def test_cohort_is_counted(cohort, tmp_path):
    found = rows(page(cohort, tmp_path, [agreement("1", 8)]))
    assert ["bSSFP", "2", "9 to 11", "1", "1", "labelled 1, translation source 2"] in found
    assert ["LGE", "1", "10 to 10", "1", "0", "test 1"] in found


def test_translation_is_named_in_words(cohort, tmp_path):
    assert "made by histogram matching." in page(cohort, tmp_path, [agreement("1", 8)])


def test_thirds_are_means_over_patients(cohort, tmp_path):
    both = [agreement("1", 8), agreement("2", 7)]
    text = page(cohort, tmp_path, both)
    values = [each.thirds.query("structure == 'LV' and third == 'mid'")["dice"].item() for each in both]
    (row,) = [row for row in rows(text) if row[1:3] == ["LV", "mid"]]
    assert row[3] == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    assert "By thirds of the stack: ensemble, post-processed" in text


def test_page_holds_table_1_and_needs_nothing_but_itself(cohort, tmp_path):
    text = page(cohort, tmp_path, [agreement("1", 8)])
    assert "Bold: the best mean" in text
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text)
    assert "<script" not in text  # it stands in the report, too, where a script would end the report's own


def test_run_without_labels_says_so(cohort, tmp_path):
    nothing = patient.Agreement(pd.DataFrame(columns=measures.COLUMNS), agreement("1", 8).thirds[:0])
    text = page(cohort, tmp_path, [nothing])
    assert "nothing evaluated" in text
    assert "By thirds" not in text


def test_structure_that_is_missed_has_no_distance(cohort, tmp_path):
    truth = np.ones((3, 9, 9), np.uint8)
    found = metrics.compare(np.zeros_like(truth), truth, (8.0, 1.0, 1.0), ["LV"])
    assert np.isnan(found[0].surfaces.distances().asd_mm)
    missed = patient.evaluate([("ensemble_pp", np.zeros_like(truth))], truth, (8.0, 1.0, 1.0), ["LV"], None)
    assert ["test", "LV", "mid", "0.000", "N/A", "N/A"] in rows(page(cohort, tmp_path, [missed.named("test", "1")]))


def test_structure_that_one_patient_misses_has_no_mean_distance(cohort, tmp_path):
    whole, missed = agreement("1", 8), agreement("2", 8)
    missed.thirds["dice"], missed.thirds["asd_mm"], missed.thirds["hd95_mm"] = 0.0, np.nan, np.nan
    known = whole.thirds.query("structure == 'LV' and third == 'base'")["dice"].item()
    (row,) = [row for row in rows(page(cohort, tmp_path, [whole, missed])) if row[1:3] == ["LV", "base"]]
    assert row[3].startswith(f"{known / 2:.3f}")
    assert row[4:] == ["N/A", "N/A"]


def test_another_measure_is_shown_in_both_tables(cohort, tmp_path, monkeypatch):
    found = agreement("1", 8)
    monkeypatch.setitem(measures.MEASURES, "added", measures.Measure("added", "Added measure", 3))
    text = page(cohort, tmp_path, [patient.Agreement(*(table.assign(added=0.123) for table in found))])
    for table in text.split("By thirds"):
        assert "<th>Added measure" in table
        assert "0.123" in table
