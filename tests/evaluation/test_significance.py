import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cardioseg.evaluation import significance


def by_enumeration(differences):
    """Two-sided p of the signed-rank test over all signs of the differences that are not zero."""
    differences = differences[differences != 0]
    ranks = stats.rankdata(abs(differences))
    sums = np.array([ranks @ signs for signs in itertools.product([0, 1], repeat=len(ranks))])
    found = ranks @ (differences > 0)
    return min(1, 2 * min((sums <= found).mean(), (sums >= found).mean()))


def test_p_of_six_differences_of_one_sign_is_1_in_32():
    assert significance.wilcoxon(np.array([1, 2, 3, 4, 5, 6.0])) == pytest.approx(2 / 2**6)


@pytest.mark.parametrize("count", [5, 6, 9])
def test_small_samples_are_exact(count):
    differences = np.random.default_rng(count).normal(0.5, 1, count)
    assert significance.wilcoxon(differences) == pytest.approx(by_enumeration(differences))


def test_ties_and_zeros_are_exact_too():
    differences = np.array([0, 0.1, 0.1, -0.1, 0.2, 0.3, 0.3])
    assert significance.wilcoxon(differences) == pytest.approx(by_enumeration(differences))


def test_p_does_not_depend_on_the_sign():
    differences = np.random.default_rng(0).normal(0.5, 1, 40)
    assert significance.wilcoxon(differences) == pytest.approx(significance.wilcoxon(-differences))


@pytest.mark.parametrize("differences", [[], [1, 2, 3, 4], [0] * 8, [1e-12, -1e-12, 0, 1e-13, 0]])
def test_few_or_zero_differences_are_not_tested(differences):
    assert np.isnan(significance.wilcoxon(np.array(differences, float)))


def test_holm_by_hand():
    # In order 0.01 x 4, 0.02 x 3, 0.03 x 2 and 0.5: the third keeps the second's 0.06.
    corrected = significance.holm([0.03, 0.01, np.nan, 0.5, 0.02])
    np.testing.assert_allclose(corrected, [0.06, 0.04, np.nan, 0.5, 0.06])
    assert significance.holm([]).size == 0
    assert significance.holm([0.4, 0.9]).tolist() == [0.8, 0.9]
    assert significance.holm([0.9, 0.9]).tolist() == [1, 1]


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_order_and_is_no_smaller(p):
    corrected = significance.holm(p)
    assert (corrected >= p).all()
    assert (corrected <= 1).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()


def frame(**methods):
    """Values of one structure by method: one list per patient, with one value per seed."""
    rows = [
        {
            "split": "test",
            "measure": "dice",
            "structure": "LV",
            "method": method,
            "patient": str(patient),
            "value": value,
        }
        for method, patients in methods.items()
        for patient, members in enumerate(patients)
        for value in members
    ]
    return pd.DataFrame(rows)


def test_seeds_are_averaged_first():
    values = frame(a=[[0.1, 0.3]] * 5, b=[[0.3], [0.4], [0.5], [0.6], [0.7]])
    row = significance.compare(values, [("b", "a")]).iloc[0]
    assert row["patients"] == 5
    assert row["median_difference"] == pytest.approx(0.3)
    assert row["p"] == row["p_holm"] == pytest.approx(2 / 2**5)


def test_patients_without_a_value_do_not_count():
    missing = float("nan")
    values = frame(a=[[0.1]] * 6, b=[[0.3], [0.4, missing], [0.5], [0.6], [0.7], [missing]])
    row = significance.compare(values, [("b", "a")]).iloc[0]
    assert row["patients"] == 4
    assert np.isnan(row["p"])


def test_methods_that_are_not_there_are_left_out():
    values = frame(a=[[0.1]] * 6, b=[[0.3]] * 6)
    table = significance.compare(values, [("b", "a"), ("c", "a"), ("b", "c")])
    assert table[["method", "compared_with"]].to_numpy().tolist() == [["b", "a"]]
    assert significance.compare(values, []).empty


def test_families_are_corrected_apart():
    values = frame(
        a=[[0.1 * n] for n in range(6)], b=[[0.2 + 0.11 * n] for n in range(6)], c=[[0.3 * n] for n in range(6)]
    )
    both = pd.concat([values, values.assign(structure="RV")])
    table = significance.compare(both, [("b", "a"), ("c", "a")])
    assert len(table) == 4
    assert table.loc[0, "p_holm"] == pytest.approx(2 * table.loc[0, "p"])
    assert table.loc[[0, 1], "p_holm"].tolist() == table.loc[[2, 3], "p_holm"].tolist()
