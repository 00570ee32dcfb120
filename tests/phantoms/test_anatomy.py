import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardioseg.phantoms.anatomy import Anatomy, contracted, draw_anatomy, oedematous


def drawn(seed: int) -> Anatomy:
    return draw_anatomy(np.random.default_rng(seed))


def ring(patient: Anatomy) -> float:
    """Cross-section of the wall times its height, in the units of its volume."""
    outer = patient.endo_radius + patient.wall
    return math.pi * (outer**2 - patient.endo_radius**2) * patient.length


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.05, 1))
def test_contraction_empties_the_cavities_and_keeps_the_wall_s_volume(seed: int, share: float) -> None:
    patient = drawn(seed)
    smaller = contracted(patient, share)
    assert ring(smaller) == pytest.approx(ring(patient))
    assert smaller.wall > patient.wall
    assert smaller.endo_radius < patient.endo_radius
    assert smaller.length < patient.length
    assert smaller.rv_protrusion < patient.rv_protrusion


def test_cavity_at_end_systole_by_hand() -> None:
    patient = drawn(0)
    systole = contracted(patient, 1)
    ejected = 1 - (systole.endo_radius**2 * systole.length) / (patient.endo_radius**2 * patient.length)
    assert ejected == pytest.approx(1 - 0.7**2 * 0.87)


def test_filling_moves_the_right_ventricle_alone() -> None:
    patient = drawn(0)
    filled = contracted(patient, 0, rv_filling=1.2)
    assert filled.rv_protrusion == pytest.approx(1.2 * patient.rv_protrusion)
    same = dataclasses.replace(filled, rv_protrusion=patient.rv_protrusion, wall=patient.wall)
    assert same == patient
    assert filled.wall == pytest.approx(patient.wall)


def test_nine_in_ten_patients_have_a_scar_and_a_third_of_these_a_dark_core() -> None:
    scars = [drawn(seed).scar for seed in range(400)]
    there = [scar for scar in scars if scar]
    assert len(there) / len(scars) == pytest.approx(0.9, abs=0.05)
    assert sum(scar.core > 0 for scar in there) / len(there) == pytest.approx(0.3, abs=0.07)


def test_healthy_heart_has_no_oedema() -> None:
    healthy = dataclasses.replace(drawn(2), scar=None)
    assert oedematous(healthy) == healthy
