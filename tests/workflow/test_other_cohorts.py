"""The workflow runs on a cohort that is not stored as the release: turned, without headers, with other codes."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from calls import METHODS, snakemake
from cardioseg import command
from cardioseg.core import volumes
from cardioseg.phantoms import heart

pytestmark = pytest.mark.slow

# The wall alone; the label files of both modalities have the codes of ACDC.
WALL_ALONE = """
ensemble: [1]
cohort:
  structures: {LV: null, RV: null}
  source: {codes: {MYO: 2, background: [1, 3]}}
  target: {codes: {MYO: 2, background: [1, 3]}}
  splits: {labelled: ["6-7"], translation_source: ["6-7"], translation_target: ["6-7"], validation: [], test: ["6-7"]}
localisation: {class_weights: [0.3, 0.7]}
segmentation: {class_weights: [0.3, 0.7]}
translation: {iterations: 2}
synthesis: {samples: 1}
postprocessing: {morphology: {order: [MYO]}}
registration: {iterations: 5}
compute: {jobs_per_step: 1}
clinical: null
scar: null
segments: null
"""
# As with EMIDEC's labels of LGE: nobody has outlined the right ventricle.
WITHOUT_RIGHT_VENTRICLE = """
ensemble: [1]
cohort:
  source: {codes: {LV: 1, MYO: 2, RV: 3}}
  target: {codes: {LV: 1, MYO: 2, RV: null, background: 3}}
  splits: {labelled: ["6-7"], translation_source: ["6-7"], translation_target: ["6-7"], validation: [], test: ["6-7"]}
translation: {iterations: 2}
synthesis: {samples: 1}
registration: {iterations: 5}
compute: {jobs_per_step: 1}
"""
TURNED, BARE = 6, 7


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients: the LGE of one is stored turned by 180 degrees, that of the other has a header of identity."""
    folder = tmp_path_factory.mktemp("cohort") / "data"
    for patient in (TURNED, BARE):
        heart.write_patient(folder, patient, seed=5, matrix_scale=0.25)
        files = heart.release_files(folder, patient)
        for kind in ("bSSFP_labels", "LGE_labels"):
            stored = volumes.read(files[kind])
            codes = np.select([stored.array == code for code in (500, 200, 600)], [1, 2, 3]).astype(np.uint8)
            volumes.write(files[kind], codes, stored.affine)
        for kind in ("LGE", "LGE_labels"):
            image = nib.load(files[kind])
            if patient == TURNED:
                nib.save(image.as_reoriented(np.array([[0, -1], [1, -1], [2, 1]])), files[kind])
            else:
                nib.save(nib.Nifti1Image(image.dataobj, np.diag([*image.header.get_zooms(), 1])), files[kind])
    # An image in another place than its own source labels is not registered.
    heart.release_files(folder, BARE)["bSSFP_labels"].rename(folder / f"patient{BARE}_C0_manual.nii.gz")
    return folder


@pytest.fixture(scope="module")
def finished(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the finished workflow, and what it said."""
    folder = tmp_path_factory.mktemp("run") / "work"
    ended = snakemake(folder, data=cohort, overlay=WALL_ALONE)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder, ended.stdout + ended.stderr


def test_workflow_of_a_single_structure_makes_every_result(finished: tuple[Path, str]) -> None:
    results = finished[0] / "results"
    table = pd.read_csv(results / "metrics.csv", dtype={"patient": str})
    assert sorted(set(table["method"])) == sorted(METHODS)
    assert set(table["structure"]) == {"MYO"}
    assert table["dice"].between(0, 1).all()
    for patient in ("6", "7"):
        assert set(np.unique(nib.load(results / "masks" / "ensemble_pp" / f"{patient}.nii.gz").dataobj)) <= {0, 200}
    assert (results / "figures" / "segmentations.png").exists()


def test_labels_are_read_by_the_codes_of_their_files(cohort: Path, finished: tuple[Path, str]) -> None:
    """The volume that the tables give is that of the wall as it was drawn, code 2."""
    clinical = pd.read_csv(finished[0] / "results" / "clinical.csv", dtype={"patient": str})
    manual = clinical[clinical["method"] == "manual"].set_index("patient")["MYO_volume_ml"]
    for patient in (TURNED, BARE):
        drawn = nib.load(heart.release_files(cohort, patient)["LGE_labels"])
        expected = np.count_nonzero(np.asarray(drawn.dataobj) == 2) * np.prod(drawn.header.get_zooms()) / 1000
        assert manual[str(patient)] == pytest.approx(expected, rel=1e-3)


def test_turned_image_is_turned_and_a_bare_one_is_used_as_stored(cohort: Path, finished: tuple[Path, str]) -> None:
    folder, said = finished
    assert f"patient{TURNED}_LGE.nii.gz: turned by 180 degrees" in said
    assert f"patient{BARE}_LGE.nii.gz: its header does not tell" in said
    table = pd.read_csv(folder / "results" / "cohort" / "cohort.csv", dtype={"patient": str})
    notes = table.set_index(["modality", "patient"])["notes"]
    assert "turned by 180 degrees" in notes["LGE", str(TURNED)]
    assert "its header does not tell" in notes["LGE", str(BARE)]
    for patient, flip in ((TURNED, -1), (BARE, 1)):
        image = nib.load(heart.release_files(cohort, patient)["LGE"])
        resampled = volumes.read(folder / "results" / "resampled" / "LGE" / f"{patient}.nii.gz").array
        stored = np.asarray(image.dataobj).T[:, ::flip, ::flip]
        # Sides of the slice are compared: the right half's share of all intensity.
        shares = [array[..., array.shape[-1] // 2 :].sum() / array.sum() for array in (stored, resampled)]
        assert shares[1] == pytest.approx(shares[0], abs=0.03)
        mask = nib.load(folder / "results" / "masks" / "ensemble_pp" / f"{patient}.nii.gz")
        np.testing.assert_allclose(mask.affine, image.affine, atol=1e-6)
        assert mask.shape == image.shape


def test_command_segments_a_single_structure(cohort: Path, finished: tuple[Path, str], tmp_path: Path) -> None:
    images = [heart.release_files(cohort, patient)["LGE"] for patient in (TURNED, BARE)]
    arguments = ["segment", *map(str, images), "--model", str(finished[0] / "results"), "--out", str(tmp_path)]
    assert command.main(arguments) in (command.DONE, command.REVIEW)
    table = pd.read_csv(tmp_path / "results.csv")
    assert "MYO_volume_ml" in table
    assert "LV_volume_ml" not in table
    assert "turned by 180 degrees" in table["notes"][0]
    for image in images:
        assert set(np.unique(nib.load(tmp_path / "masks" / image.name).dataobj)) <= {0, 200}


def test_structure_that_nobody_outlined_is_segmented_and_not_measured(cohort: Path, tmp_path: Path) -> None:
    ended = snakemake(tmp_path / "work", data=cohort, overlay=WITHOUT_RIGHT_VENTRICLE)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "no RV" not in ended.stdout + ended.stderr
    results = tmp_path / "work" / "results"
    for name in ("metrics", "metrics_thirds"):
        table = pd.read_csv(results / f"{name}.csv", dtype={"patient": str})
        missing = table.set_index("structure")["dice"].isna().groupby("structure").all()
        assert missing.to_dict() == {"LV": False, "MYO": False, "RV": True}
    assert "RV: N/A, since no manual mask has it. AVG is without it." in (results / "table1.md").read_text("utf-8")
    assert "RV_volume_ml" not in (results / "bland_altman.csv").read_text("utf-8")
    assert pd.read_csv(results / "clinical.csv").groupby("method")["RV_volume_ml"].count()["manual"] == 0
