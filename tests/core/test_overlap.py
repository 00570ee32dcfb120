import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cardioseg.core import overlap
from cardioseg.evaluation import metrics

SHAPES = arrays.array_shapes(min_dims=2, max_dims=3, max_side=4)


def test_dice_by_hand():
    assert overlap.dice(np.array([True, True, False]), np.array([False, True, False])) == pytest.approx(2 / 3)


@given(SHAPES.flatmap(lambda shape: st.tuples(arrays.arrays(bool, shape), arrays.arrays(bool, shape))))
def test_dice_is_that_of_medpy(masks):
    assert overlap.dice(*masks) == pytest.approx(metrics.dice(*masks), nan_ok=True)


def test_mean_leaves_out_what_is_not_available():
    assert overlap.mean([0.5, math.nan, 1.0]) == 0.75
    assert math.isnan(overlap.mean([math.nan]))
    assert math.isnan(overlap.mean([]))
