import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from cardioseg.core.errors import InputError
from cardioseg.phantoms import heart
from cardioseg.phantoms.scanner import Drawn
from cardioseg.phantoms.slices import LV_CODE, MYO_CODE, RV_CODE

LV, MYO, RV = LV_CODE, MYO_CODE, RV_CODE


def measure(volume: Drawn) -> dict[str, float]:
    """The quantities to which the phantom is calibrated. Intensities are relative to the LV blood pool's mean."""
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
        image, labels, scar, segments, spacing, affine = volumes[modality]
        assert image.shape == labels.shape
        assert image.dtype == labels.dtype == np.int16
        assert set(np.unique(labels)) == {0, LV, MYO, RV}
        np.testing.assert_array_equal(segments > 0, labels == MYO)
        assert not scar[labels != MYO].any()
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
        f"{training}/lgegt/patient5_LGE_scar.nii.gz",
        f"{training}/lgegt/patient5_LGE_segments.nii.gz",
        f"{training}/t2gt/patient5_T2_manual.nii.gz",
        f"{training}/c0t2lge/patient36_C0.nii.gz",
        f"{training}/c0t2lge/patient36_LGE.nii.gz",
        f"{training}/c0t2lge/patient36_T2.nii.gz",
        *(
            f"C0LET2_gt_for_challenge19/LGE_manual_35_TestData/patient36_LGE_{name}.nii.gz"
            for name in ("manual", "scar", "segments")
        ),
    }


def test_files_hold_what_was_drawn(tmp_path: Path) -> None:
    heart.write_patient(tmp_path, 4, seed=2, matrix_scale=0.1)
    drawn = heart.draw_patient(4, seed=2, matrix_scale=0.1)
    files = heart.release_files(tmp_path, 4)
    for modality, volume in drawn.items():
        known = {modality: volume.image, f"{modality}_labels": volume.labels}
        if modality == "LGE":
            known |= {"LGE_scar": volume.scar, "LGE_segments": volume.segments}
        for key, array in known.items():
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
    with pytest.raises(InputError, match="matrix_scale"):
        heart.draw_patient(1, seed=0, matrix_scale=50.0)


def test_contrast_of_a_few_patients_is_as_in_real_images() -> None:
    measured = mean_measures(range(1, 7), matrix_scale=0.4)
    assert measured["bSSFP"]["MYO mean"] == pytest.approx(0.46, abs=0.08)
    assert measured["bSSFP"]["RV mean"] == pytest.approx(0.80, abs=0.13)
    assert measured["LGE"]["MYO mean"] == pytest.approx(0.54, abs=0.14)
    assert measured["LGE"]["near mean"] == pytest.approx(0.50, abs=0.10)
    # Blood 0.60, myocardium 0.34 and oedema 0.42 by the equation, at 50 ms after 2 s.
    assert measured["T2"]["MYO mean"] == pytest.approx(0.60, abs=0.06)
    assert measured["T2"]["RV mean"] == pytest.approx(0.90, abs=0.08)
    for modality, endo_radius, wall in (("bSSFP", 27.4, 9.6), ("LGE", 24.4, 10.9)):
        assert measured[modality]["endo radius"] == pytest.approx(endo_radius, abs=2.5)
        assert measured[modality]["wall"] == pytest.approx(wall, abs=1.5)


@pytest.mark.slow
def test_means_over_a_cohort_are_near_those_of_real_volumes() -> None:
    """Means over a cohort against those of MS-CMRSeg 2019."""
    measured = mean_measures(range(1, 25), 0.5, ("bSSFP", "LGE"))
    bssfp, lge = measured["bSSFP"], measured["LGE"]
    assert bssfp["MYO mean"] == pytest.approx(0.46, abs=0.04)
    assert bssfp["RV mean"] == pytest.approx(0.80, abs=0.07)
    assert bssfp["MYO bright"] <= 0.05
    assert lge["MYO mean"] == pytest.approx(0.54, abs=0.07)
    assert lge["MYO median"] == pytest.approx(0.42, abs=0.07)
    assert lge["MYO p5"] == pytest.approx(0.13, abs=0.10)
    assert lge["MYO p95"] == pytest.approx(1.31, abs=0.25)
    assert lge["MYO bright"] == pytest.approx(0.73, abs=0.15)
    assert lge["near mean"] == pytest.approx(0.50, abs=0.05)
    assert lge["near p10"] == pytest.approx(0.09, abs=0.05)
    assert lge["near p90"] == pytest.approx(0.97, abs=0.10)
    # Cine bSSFP is read at end-diastole, LGE later, where the cavity is smaller and the wall thicker.
    for volumes, (endo_radius, wall, lv, myo, rv) in (
        (bssfp, (27.4, 9.6, 153, 128, 149)),
        (lge, (24.4, 10.9, 109, 122, 138)),
    ):
        assert volumes["endo radius"] == pytest.approx(endo_radius, abs=1.5)
        assert volumes["wall"] == pytest.approx(wall, abs=1)
        assert volumes["LV ml"] == pytest.approx(lv, rel=0.15)
        assert volumes["MYO ml"] == pytest.approx(myo, rel=0.15)
        assert volumes["RV ml"] == pytest.approx(rv, rel=0.15)
