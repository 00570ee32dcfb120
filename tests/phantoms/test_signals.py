import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardioseg.phantoms import signals


def test_bssfp_signal_equals_its_value_by_hand() -> None:
    # E1 = 1/2 and E2 = 1/4, so the steady state is (1 - 1/2) / (1 - 1/8) = 4/7; half of it is left at the echo.
    signal = signals.bssfp_signal(
        2, 1000, 500, flip_angle=90, repetition_time=1000 * math.log(2), echo_time=500 * math.log(2)
    )
    assert signal == pytest.approx(2 * 4 / 7 / 2)


def test_bssfp_signal_of_a_short_repetition_depends_on_t1_over_t2() -> None:
    # sin(a) / (1 + cos(a) + (1 - cos(a)) T1 / T2), the limit of TR to 0.
    signal = signals.bssfp_signal(1, 1000, 100, flip_angle=60, repetition_time=0.01, echo_time=0)
    assert signal == pytest.approx(math.sqrt(3) / 2 / (1.5 + 0.5 * 10), rel=1e-4)


def test_t2_prepared_signal_equals_its_value_by_hand() -> None:
    # Three quarters have recovered since the last preparation, of which half survive this one.
    signal = signals.t2_prepared_signal(
        2, 1000, 50, preparation_time=50 * math.log(2), repetition_time=1000 * math.log(4)
    )
    assert signal == pytest.approx(2 * 3 / 4 / 2)


@pytest.mark.parametrize(
    ("inversion_time", "repetition_time", "expected"),
    [(0, 1e6, -1), (500 * math.log(2), 1e6, 0), (500 * math.log(4), 1e6, 0.5), (0, 500 * math.log(4), -0.75)],
)
def test_inversion_recovery_signal_equals_its_value_by_hand(
    inversion_time: float, repetition_time: float, expected: float
) -> None:
    signal = signals.inversion_recovery_signal(1, 500, inversion_time=inversion_time, repetition_time=repetition_time)
    assert signal == pytest.approx(expected, abs=1e-12)


@given(t1=st.floats(100, 2000), repetition_time=st.floats(200, 5000))
def test_signal_vanishes_at_the_null_time(t1: float, repetition_time: float) -> None:
    time = signals.null_time(t1, repetition_time)
    assert 0 < time < repetition_time
    signal = signals.inversion_recovery_signal(1, t1, inversion_time=time, repetition_time=repetition_time)
    assert signal == pytest.approx(0, abs=1e-9)
