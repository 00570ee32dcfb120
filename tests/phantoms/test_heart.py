import dataclasses
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_fill_holes, distance_transform_edt

from cardioseg.core.errors import InputError
from cardioseg.phantoms import heart

LV, MYO, RV = heart.LV_CODE, heart.MYO_CODE, heart.RV_CODE


def coarse_slice(anatomy: heart.Anatomy, height: float) -> tuple[dict[str, heart.Floats], NDArray[np.int16]]:
    grid = np.arange(-120, 120, 2, dtype=np.float32)
    return heart.slice_fractions(anatomy, grid, grid, height, 2.0, 6.0)


def measure(volume: heart.Drawn) -> dict[str, float]:
    """The quantities of a volume to which the phantom is calibrated; intensities over the LV blood pool's mean."""
    intensity = volume.image / volume.image[volume.labels == LV].mean()
    near = np.zeros(volume.labels.shape, bool)
    for index in np.flatnonzero(volume.labels.any(axis=(1, 2))):
        outside = volume.labels[index] == 0
        near[index] = outside & (distance_transform_edt(outside, sampling=volume.spacing[1:]) <= 30)
    areas = {code: (volume.labels == code).sum(axis=(1, 2)) * volume.spacing[1] ** 2 for code in (LV, MYO, RV)}
    middle = np.argsort(areas[LV])[-4:]
    endo_radius = math.sqrt(areas[LV][middle].mean() / math.pi)
    epi_radius = math.sqrt((areas[LV] + areas[MYO])[middle].mean() / math.pi)
    myocardium = intensity[volume.labels == MYO]
    return {
        "MYO mean": myocardium.mean(),
        "MYO median": np.median(myocardium),
        "MYO p5": np.percentile(myocardium, 5),
        "MYO p95": np.percentile(myocardium, 95),
        "MYO bright": float(np.percentile(myocardium, 95) > 1),
        "RV mean": intensity[volume.labels == RV].mean(),
        "near mean": intensity[near].mean(),
        "near p10": np.percentile(intensity[near], 10),
        "near p90": np.percentile(intensity[near], 90),
        "LV ml": areas[LV].sum() * volume.spacing[0] / 1000,
        "MYO ml": areas[MYO].sum() * volume.spacing[0] / 1000,
        "RV ml": areas[RV].sum() * volume.spacing[0] / 1000,
        "endo radius": endo_radius,
        "wall": epi_radius - endo_radius,
    }


def mean_measures(
    patients: range, matrix_scale: float, modalities: tuple[heart.Modality, ...] = heart.MODALITIES
) -> dict[str, dict[str, float]]:
    cohort = [heart.draw_patient(patient, 0, matrix_scale, modalities) for patient in patients]
    measured = {modality: [measure(volumes[modality]) for volumes in cohort] for modality in cohort[0]}
    return {m: {name: np.mean([row[name] for row in rows]) for name in rows[0]} for m, rows in measured.items()}


def test_bssfp_signal_by_hand() -> None:
    # E1 = 1/2 and E2 = 1/4, so the steady state is (1 - 1/2) / (1 - 1/8) = 4/7; half of it is left at the echo.
    signal = heart.bssfp_signal(
        2, 1000, 500, flip_angle=90, repetition_time=1000 * math.log(2), echo_time=500 * math.log(2)
    )
    assert signal == pytest.approx(2 * 4 / 7 / 2)


def test_bssfp_signal_of_a_short_repetition_depends_on_t1_over_t2() -> None:
    # sin(a) / (1 + cos(a) + (1 - cos(a)) T1 / T2), the limit of TR to 0.
    signal = heart.bssfp_signal(1, 1000, 100, flip_angle=60, repetition_time=0.01, echo_time=0)
    assert signal == pytest.approx(math.sqrt(3) / 2 / (1.5 + 0.5 * 10), rel=1e-4)


def test_t2_preparation_by_hand() -> None:
    # Three quarters have recovered since the last preparation, of which half survive this one.
    signal = heart.t2_prepared_signal(
        2, 1000, 50, preparation_time=50 * math.log(2), repetition_time=1000 * math.log(4)
    )
    assert signal == pytest.approx(2 * 3 / 4 / 2)


@pytest.mark.parametrize(
    ("inversion_time", "repetition_time", "expected"),
    [(0, 1e6, -1), (500 * math.log(2), 1e6, 0), (500 * math.log(4), 1e6, 0.5), (0, 500 * math.log(4), -0.75)],
)
def test_inversion_recovery_by_hand(inversion_time: float, repetition_time: float, expected: float) -> None:
    signal = heart.inversion_recovery_signal(1, 500, inversion_time=inversion_time, repetition_time=repetition_time)
    assert signal == pytest.approx(expected, abs=1e-12)


@given(t1=st.floats(100, 2000), repetition_time=st.floats(200, 5000))
def test_signal_vanishes_at_the_null_time(t1: float, repetition_time: float) -> None:
    time = heart.null_time(t1, repetition_time)
    assert 0 < time < repetition_time
    signal = heart.inversion_recovery_signal(1, t1, inversion_time=time, repetition_time=repetition_time)
    assert signal == pytest.approx(0, abs=1e-9)


def test_acquisition_keeps_a_constant_and_drops_what_k_space_does_not_hold() -> None:
    constant = np.full((32, 48), 3, np.float32)
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(heart.acquire_slice(rng, constant, 1.0, 1.5, 0.0), constant, rtol=1e-5)
    checkerboard = (np.indices((32, 48)).sum(axis=0) % 2).astype(np.float32)
    np.testing.assert_allclose(heart.acquire_slice(rng, checkerboard, 1.0, 1.5, 0.0), 0.5, rtol=1e-4)


def test_noise_is_rician() -> None:
    rng = np.random.default_rng(0)
    air = heart.acquire_slice(rng, np.zeros((256, 256), np.float32), 1.0, 1.5, 0.2)
    assert air.mean() == pytest.approx(0.2 * math.sqrt(math.pi / 2), rel=0.02)
    tissue = heart.acquire_slice(rng, np.full((256, 256), 10, np.float32), 1.0, 1.5, 0.2)
    assert tissue.std() == pytest.approx(0.2, rel=0.03)


def test_texture_is_standardised_and_does_not_depend_on_the_grid() -> None:
    texture = heart.Texture(np.random.default_rng(0), 10, 20, 60)
    fine = np.arange(0, 500, dtype=np.float32)
    values = texture(fine, fine, 5.0)
    assert abs(values.mean()) < 0.1
    assert values.std() == pytest.approx(1, abs=0.2)
    np.testing.assert_allclose(texture(fine[::4], fine[::2], 5.0), values[::2, ::4], atol=1e-4)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), level=st.floats(0.3, 0.7))
def test_structures_are_nested_for_any_patient(seed: int, level: float) -> None:
    anatomy = heart.draw_anatomy(np.random.default_rng(seed))
    fractions, labels = coarse_slice(anatomy, level * anatomy.length)
    lv, myo, rv = labels == LV, labels == MYO, labels == RV
    assert lv.any() and myo.any()
    np.testing.assert_array_equal(binary_fill_holes(myo) & ~myo, lv)
    assert not (binary_dilation(lv) & rv).any()
    if level > 0.5:
        assert (binary_dilation(myo) & rv).any()
    assert min(part.min() for part in fractions.values()) > -1e-5
    assert sum(fractions.values()).max() < 1 + 1e-4


def test_papillary_muscles_belong_to_the_cavity() -> None:
    anatomy = dataclasses.replace(heart.draw_anatomy(np.random.default_rng(1)), trabeculation=0.0, scar=None)
    fractions, labels = coarse_slice(anatomy, 0.48 * anatomy.length)
    muscle = fractions["myocardium"][labels == LV]
    assert (muscle > 0.9).any()
    assert fractions["blood"][labels == LV].mean() > 0.7


def test_tilted_base_opens_the_myocardium() -> None:
    anatomy = dataclasses.replace(heart.draw_anatomy(np.random.default_rng(1)), base_tilt=(0.3, 0.0))
    _, labels = coarse_slice(anatomy, anatomy.length - 2)
    myo, lv = labels == MYO, labels == LV
    assert lv.any() and myo.any()
    assert not (binary_fill_holes(myo) & lv).any()


def test_scar_lies_in_the_wall_and_only_where_there_is_one() -> None:
    scar = heart.Scar(angle=0.0, half_width=1.0, height=0.5, half_height=0.5, transmurality=0.5)
    anatomy = dataclasses.replace(heart.draw_anatomy(np.random.default_rng(2)), scar=scar)
    fractions, labels = coarse_slice(anatomy, 0.5 * anatomy.length)
    enhanced = fractions["scar"] > 0.5
    assert (labels[enhanced] == MYO).mean() > 0.9
    assert np.argwhere(enhanced)[:, 1].min() > 60, "a scar at angle 0 lies on the side of growing x"
    healthy, _ = coarse_slice(dataclasses.replace(anatomy, scar=None), 0.5 * anatomy.length)
    assert healthy["scar"].max() == 0


def test_oedema_reaches_beyond_the_scar_within_the_wall() -> None:
    anatomy = heart.draw_anatomy(np.random.default_rng(2))
    assert anatomy.scar is not None
    height = anatomy.scar.height * anatomy.length
    fractions, labels = coarse_slice(anatomy, height)
    oedema, same_labels = coarse_slice(heart.oedematous(anatomy), height)
    np.testing.assert_array_equal(labels, same_labels)
    assert (oedema["scar"] >= fractions["scar"] - 1e-5).all()
    assert oedema["scar"].sum() > 1.2 * fractions["scar"].sum()
    healthy = dataclasses.replace(anatomy, scar=None)
    assert heart.oedematous(healthy) == healthy


@pytest.mark.parametrize("patient", [1, 2, 3])
def test_volumes_have_the_geometry_of_their_modality(patient: int) -> None:
    scale = 0.25
    volumes = heart.draw_patient(patient, seed=3, matrix_scale=scale)
    centroids = {}
    for modality, matrices, pixels, thicknesses, slices in (
        ("bSSFP", (256, 320), (1.19, 1.25), (8, 13), (8, 14)),
        ("LGE", (400, 512), (0.73, 0.76), (5, 5), (10, 20)),
        ("T2", (256, 288), (1.3, 1.4), (12, 23), (3, 7)),
    ):
        image, labels, spacing, affine = volumes[modality]
        assert image.shape == labels.shape
        assert image.dtype == labels.dtype == np.int16
        assert set(np.unique(labels)) == {0, LV, MYO, RV}
        assert image.shape[1] == image.shape[2]
        assert matrices[0] * scale <= image.shape[1] <= matrices[1] * scale
        assert pixels[0] <= spacing[1] * scale <= pixels[1] and spacing[1] == spacing[2]
        assert thicknesses[0] <= spacing[0] <= thicknesses[1]
        assert slices[0] <= len(image) <= slices[1]
        np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), spacing[::-1])
        axes = affine[:3, :3] / spacing[::-1]
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
        area = (labels > 0).sum(axis=(1, 2))
        assert area[0] < 0.5 * area.max(), "slice 0 is apical"
        assert not (labels[0] == RV).any()
        z, y, x = np.argwhere(labels == LV).mean(axis=0)
        centroids[modality] = np.linalg.inv(axes) @ (affine @ (x, y, z, 1))[:3]
    for other in ("LGE", "T2"):
        np.testing.assert_allclose(centroids["bSSFP"][:2], centroids[other][:2], atol=12, err_msg="one scanner frame")


def test_files_lie_where_the_release_has_them(tmp_path: Path) -> None:
    for patient in (5, 36):
        heart.write_patient(tmp_path, patient, seed=0, matrix_scale=0.1)
    training = "C0LET2_nii45_for_challenge19"
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {
        f"{training}/c0t2lge/patient5_C0.nii.gz",
        f"{training}/c0t2lge/patient5_LGE.nii.gz",
        f"{training}/c0t2lge/patient5_T2.nii.gz",
        f"{training}/c0gt/patient5_C0_manual.nii.gz",
        f"{training}/lgegt/patient5_LGE_manual.nii.gz",
        f"{training}/t2gt/patient5_T2_manual.nii.gz",
        f"{training}/c0t2lge/patient36_C0.nii.gz",
        f"{training}/c0t2lge/patient36_LGE.nii.gz",
        f"{training}/c0t2lge/patient36_T2.nii.gz",
        "C0LET2_gt_for_challenge19/LGE_manual_35_TestData/patient36_LGE_manual.nii.gz",
    }


def test_files_hold_what_was_drawn(tmp_path: Path) -> None:
    heart.write_patient(tmp_path, 4, seed=2, matrix_scale=0.1)
    drawn = heart.draw_patient(4, seed=2, matrix_scale=0.1)
    files = heart.release_files(tmp_path, 4)
    for modality, volume in drawn.items():
        for key, array in ((modality, volume.image), (f"{modality}_labels", volume.labels)):
            nifti = nib.load(files[key])
            np.testing.assert_array_equal(np.asarray(nifti.dataobj), array.transpose(2, 1, 0))
            assert nifti.get_data_dtype() == np.int16
            assert nifti.header["sform_code"] == nifti.header["qform_code"] == 1
            np.testing.assert_allclose(nifti.get_sform(), volume.affine, atol=1e-4)
            np.testing.assert_allclose(nifti.get_qform(), volume.affine, atol=1e-3)
            np.testing.assert_allclose(nifti.header.get_zooms(), volume.spacing[::-1], rtol=1e-5)


def test_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    for folder, seed in (("first", 1), ("again", 1), ("other", 2)):
        heart.write_patient(tmp_path / folder, 1, seed=seed, matrix_scale=0.1)
    first, again, other = (heart.release_files(tmp_path / name, 1) for name in ("first", "again", "other"))
    for key, path in first.items():
        assert path.read_bytes() == again[key].read_bytes()
        assert path.read_bytes() != other[key].read_bytes()


def test_modalities_do_not_depend_on_each_other() -> None:
    together = heart.draw_patient(3, seed=1, matrix_scale=0.1)
    for modality in heart.MODALITIES:
        (alone,) = heart.draw_patient(3, seed=1, matrix_scale=0.1, modalities=[modality]).values()
        np.testing.assert_array_equal(alone.image, together[modality].image)
        np.testing.assert_array_equal(alone.labels, together[modality].labels)


def test_impossible_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="patient 0"):
        heart.release_files(tmp_path, 0)
    for scale in (0.0, -1.0, math.nan, 50.0):
        with pytest.raises(InputError, match="matrix_scale"):
            heart.draw_patient(1, seed=0, matrix_scale=scale)


def test_contrast_of_a_few_patients() -> None:
    measured = mean_measures(range(1, 7), matrix_scale=0.4)
    assert measured["bSSFP"]["MYO mean"] == pytest.approx(0.46, abs=0.08)
    assert measured["bSSFP"]["RV mean"] == pytest.approx(0.80, abs=0.13)
    assert measured["LGE"]["MYO mean"] == pytest.approx(0.54, abs=0.14)
    assert measured["LGE"]["near mean"] == pytest.approx(0.50, abs=0.10)
    # Blood 0.60, myocardium 0.34 and oedema 0.42 by the equation, at 50 ms after 2 s.
    assert measured["T2"]["MYO mean"] == pytest.approx(0.60, abs=0.06)
    assert measured["T2"]["RV mean"] == pytest.approx(0.90, abs=0.08)
    for volumes in (measured["bSSFP"], measured["LGE"]):
        assert volumes["endo radius"] == pytest.approx(25.5, abs=2)
        assert volumes["wall"] == pytest.approx(9.5, abs=1)


@pytest.mark.slow
def test_calibration_to_real_volumes() -> None:
    """Means over a cohort against those of MS-CMRSeg 2019."""
    measured = mean_measures(range(1, 25), 1.0, ("bSSFP", "LGE"))
    bssfp, lge = measured["bSSFP"], measured["LGE"]
    assert bssfp["MYO mean"] == pytest.approx(0.46, abs=0.03)
    assert bssfp["RV mean"] == pytest.approx(0.80, abs=0.07)
    assert bssfp["MYO bright"] <= 0.05
    assert lge["MYO mean"] == pytest.approx(0.54, abs=0.07)
    assert lge["MYO median"] == pytest.approx(0.42, abs=0.07)
    assert lge["MYO p5"] == pytest.approx(0.13, abs=0.10)
    assert lge["MYO p95"] == pytest.approx(1.31, abs=0.20)
    assert lge["MYO bright"] == pytest.approx(0.73, abs=0.15)
    assert lge["near mean"] == pytest.approx(0.50, abs=0.05)
    assert lge["near p10"] == pytest.approx(0.09, abs=0.05)
    assert lge["near p90"] == pytest.approx(0.97, abs=0.10)
    for volumes in (bssfp, lge):
        assert 24 < volumes["endo radius"] < 27
        assert 9 < volumes["wall"] < 10.2
        assert 112 < volumes["LV ml"] < 150
        assert 115 < volumes["MYO ml"] < 135
        assert 103 < volumes["RV ml"] < 149
