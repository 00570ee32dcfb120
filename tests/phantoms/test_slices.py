import dataclasses
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, binary_fill_holes

from cardioseg.phantoms.anatomy import Anatomy, Scar, draw_anatomy, oedematous
from cardioseg.phantoms.slices import (
    AORTIC_RADIUS,
    CORE_CODE,
    LV_CODE,
    MYO_CODE,
    RV_CODE,
    SCAR_CODE,
    Slice,
    aha_segments,
    draw_slice,
)

LV, MYO, RV = LV_CODE, MYO_CODE, RV_CODE
GRID = np.arange(-120, 120, 2, dtype=np.float32)


def coarse_slice(anatomy: Anatomy, height: float) -> Slice:
    return draw_slice(anatomy, GRID, GRID, height, 2.0, 6.0)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), level=st.floats(0.3, 0.6))
def test_structures_are_nested_for_any_patient(seed: int, level: float) -> None:
    anatomy = draw_anatomy(np.random.default_rng(seed))
    fractions, labels, *_ = coarse_slice(anatomy, level * anatomy.length)
    lv, myo, rv = labels == LV, labels == MYO, labels == RV
    assert lv.any() and myo.any()
    np.testing.assert_array_equal(binary_fill_holes(myo) & ~myo, lv)
    assert not (binary_dilation(lv) & rv).any()
    if level > 0.5:
        assert (binary_dilation(myo) & rv).any()
    assert min(part.min() for part in fractions.values()) > -1e-5
    assert sum(fractions.values()).max() < 1 + 1e-4


def test_papillary_muscles_belong_to_the_cavity() -> None:
    anatomy = dataclasses.replace(draw_anatomy(np.random.default_rng(1)), trabeculation=0.0, scar=None)
    fractions, labels, *_ = coarse_slice(anatomy, 0.48 * anatomy.length)
    muscle = fractions["myocardium"][labels == LV]
    assert (muscle > 0.9).any()
    assert fractions["blood"][labels == LV].mean() > 0.7


def test_scar_lies_in_the_wall_and_only_where_there_is_one() -> None:
    scar = Scar(angle=0.0, half_width=1.0, height=0.5, half_height=0.5, transmurality=0.5)
    anatomy = dataclasses.replace(draw_anatomy(np.random.default_rng(2)), scar=scar)
    fractions, labels, truth, _ = coarse_slice(anatomy, 0.5 * anatomy.length)
    enhanced = fractions["scar"] > 0.5
    assert (labels[enhanced] == MYO).mean() > 0.9
    assert np.argwhere(enhanced)[:, 1].min() > 60, "a scar at angle 0 lies on the side of growing x"
    assert (truth[enhanced & (labels == MYO)] == SCAR_CODE).mean() > 0.9
    assert not truth[labels != MYO].any()
    healthy = coarse_slice(dataclasses.replace(anatomy, scar=None), 0.5 * anatomy.length)
    assert healthy.fractions["scar"].max() == 0
    assert not healthy.scar.any()


def test_oedema_reaches_beyond_the_scar_within_the_wall() -> None:
    scar = Scar(angle=0.0, half_width=0.8, height=0.5, half_height=0.4, transmurality=0.5)
    anatomy = dataclasses.replace(draw_anatomy(np.random.default_rng(2)), scar=scar)
    height = 0.5 * anatomy.length
    fractions, labels, *_ = coarse_slice(anatomy, height)
    oedema, same_labels, *_ = coarse_slice(oedematous(anatomy), height)
    np.testing.assert_array_equal(labels, same_labels)
    assert (oedema["scar"] >= fractions["scar"] - 1e-5).all()
    assert oedema["scar"].sum() > 1.2 * fractions["scar"].sum()


def test_core_is_dark_and_lies_within_the_scar() -> None:
    whole = Scar(angle=0.0, half_width=1.2, height=0.5, half_height=0.6, transmurality=1.0)
    anatomy = dataclasses.replace(draw_anatomy(np.random.default_rng(2)), scar=whole)
    plain = coarse_slice(anatomy, 0.5 * anatomy.length)
    cored = coarse_slice(dataclasses.replace(anatomy, scar=dataclasses.replace(whole, core=0.6)), 0.5 * anatomy.length)
    np.testing.assert_array_equal(cored.labels, plain.labels)
    core = cored.scar == CORE_CODE
    assert core.any()
    assert (plain.scar[core] == SCAR_CODE).mean() > 0.95
    assert cored.fractions["obstruction"][core].mean() > 0.6
    rim = binary_dilation(cored.labels == LV) & (plain.scar == SCAR_CODE)
    assert (cored.scar[rim] == SCAR_CODE).mean() > 0.6, "next to the cavity the scar stays bright"


def test_myocardium_opens_towards_the_outflow_tract_near_the_base() -> None:
    anatomy = dataclasses.replace(
        draw_anatomy(np.random.default_rng(1)), base_tilt=(0.0, 0.0), opening_angle=math.pi, opening_depth=12.0
    )
    below = coarse_slice(anatomy, anatomy.length - 20).labels
    assert (binary_fill_holes(below == MYO) & (below == LV)).any()
    near = coarse_slice(anatomy, anatomy.length - 5).labels
    myo, lv = near == MYO, near == LV
    assert not (binary_fill_holes(myo) & lv).any()
    row, column = np.argwhere(lv).mean(axis=0).round().astype(int)
    assert not myo[row, :column].any(), "the wall is open at the angle of pi, to the left"
    assert myo[row, column:].any()


def test_aortic_root_takes_its_place_beside_the_right_ventricle_at_the_base() -> None:
    anatomy = dataclasses.replace(
        draw_anatomy(np.random.default_rng(1)),
        base_tilt=(0.0, 0.0),
        rv_angle=math.pi,
        opening_angle=math.pi,
        opening_depth=8.0,
    )
    row = int(np.argmin(np.abs(GRID)))
    column = int(np.argmin(np.abs(GRID + anatomy.endo_radius + 0.5 * anatomy.wall + AORTIC_RADIUS - 2)))
    below, near = (coarse_slice(anatomy, anatomy.length - depth) for depth in (20, 3))
    assert below.labels[row, column] == RV
    assert near.labels[row, column] == 0
    assert near.fractions["blood"][row, column] > 0.5
    assert (near.labels == RV).any()


def test_segments_are_those_of_the_aha() -> None:
    anatomy = dataclasses.replace(draw_anatomy(np.random.default_rng(1)), rv_angle=math.pi, drift=(0.0, 0.0))
    # Septum to the left, anterior wall on the side of growing y, from the middle of each wall.
    angles = {"anterior": 90, "anteroseptal": 150, "inferoseptal": 210, "inferior": 270, "inferolateral": 330}
    angles["anterolateral"] = 30

    def at(degrees: float, share: float) -> int:
        z = anatomy.apical_wall + share * (anatomy.length - anatomy.apical_wall)
        x, y = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        return int(aha_segments(anatomy, np.float32([30 * x]), np.float32([30 * y]), z)[0, 0])

    assert [at(angle, 0.9) for angle in angles.values()] == [1, 2, 3, 4, 5, 6]
    assert [at(angle, 0.5) for angle in angles.values()] == [7, 8, 9, 10, 11, 12]
    assert [at(angle, 0.1) for angle in (90, 180, 270, 0)] == [13, 14, 15, 16]
    assert at(0, -0.05) == 17


def test_segments_cover_the_myocardium_and_nothing_else() -> None:
    anatomy = draw_anatomy(np.random.default_rng(3))
    _, labels, _, segments = coarse_slice(anatomy, 0.5 * anatomy.length)
    np.testing.assert_array_equal(segments > 0, labels == MYO)
    assert set(np.unique(segments[segments > 0])) == set(range(7, 13))
