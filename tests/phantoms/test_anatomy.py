import dataclasses

import numpy as np
import pytest

from cardioseg.phantoms.anatomy import draw_anatomy, oedematous


def test_nine_in_ten_patients_have_a_scar() -> None:
    scars = [draw_anatomy(np.random.default_rng(seed)).scar for seed in range(400)]
    assert sum(scar is not None for scar in scars) / len(scars) == pytest.approx(0.9, abs=0.05)


def test_healthy_heart_has_no_oedema() -> None:
    healthy = dataclasses.replace(draw_anatomy(np.random.default_rng(2)), scar=None)
    assert oedematous(healthy) == healthy
