from pathlib import Path

import pytest

from cardioseg.cohort.pairs import pair
from cardioseg.core.errors import InputError


def named(*paths):
    return {Path(path).name: Path(path) for path in paths}


def test_a_single_pair_may_be_called_anything():
    assert pair(named("a/60_LGE"), named("b/60_C0"), listed=False) == {"60_LGE": Path("b/60_C0")}


@pytest.mark.parametrize("listed", [True, False])
def test_equal_names_belong_together_in_any_order(listed):
    found = pair(named("lge/60", "lge/61"), named("c0/61", "c0/60"), listed)
    assert found == {"60": Path("c0/60"), "61": Path("c0/61")}


def test_order_tells_where_all_were_given_one_by_one():
    found = pair(named("60_LGE", "61_LGE"), named("61_C0", "60_C0"), listed=True)
    assert found == {"60_LGE": Path("61_C0"), "61_LGE": Path("60_C0")}


@pytest.mark.parametrize(
    ("sources", "listed", "expected"),
    [
        (("c0/60", "c0/61"), False, "2 for 3 images"),
        (("c0/a", "c0/b", "c0/c"), False, "not clear.*60"),
        (("c0/60", "c0/61", "c0/63"), True, r"not clear.*\(62, 63 has no partner"),
        (("lge/60", "c0/61", "c0/62"), True, "lge/60: is given as an image and as a source"),
    ],
    ids=["too few", "a folder of other names", "one other name", "the image itself"],
)
def test_ambiguous_pairs_are_refused(sources, listed, expected):
    with pytest.raises(InputError, match=expected):
        pair(named("lge/60", "lge/61", "lge/62"), named(*sources), listed)
