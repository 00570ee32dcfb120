"""The example configurations of demo/, each at the smallest size, to the metrics."""

import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from calls import METHODS, ROOT, planned, snakemake
from cardioseg.core import checkpoints
from cardioseg.phantoms import heart

pytestmark = pytest.mark.slow

SHORTER = """
ensemble: [1]
cohort: {splits: {labelled: [6], translation_source: [6], translation_target: [6]}}
registration: {iterations: 20}
scar: null
segments: null
"""


def metrics_of(folder: Path, example: str, data: Path | None = None) -> pd.DataFrame:
    overlay = f"{SHORTER}compute: {{jobs_per_step: 1}}"  # several patients a job: fewer processes
    finished = snakemake(folder, "results/metrics.csv", example=example, data=data, overlay=overlay)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    table = pd.read_csv(folder / "results" / "metrics.csv", dtype={"patient": str})
    assert sorted(set(table["method"])) == sorted(METHODS)
    assert set(zip(table["split"], table["patient"], strict=True)) == {("validation", "1"), ("test", "6")}
    assert table["dice"].between(0, 1).all()
    return table


def check_masks(folder: Path, raw: Path, codes: set[int]) -> None:
    """Masks of patient 6 in the geometry of its raw image; registration's has every code."""
    image = nib.load(raw)
    for model in ("registration", "cascade_ft/seed1", "ensemble_pp"):
        mask = nib.load(folder / "results" / "masks" / model / "6.nii.gz")
        assert mask.shape == image.shape
        np.testing.assert_allclose(mask.affine, image.affine, atol=1e-6)
        assert set(np.unique(mask.dataobj)) <= {0, *codes}
        if model == "registration":
            assert set(np.unique(mask.dataobj)) == {0, *codes}


def test_target_may_be_t2(tmp_path: Path) -> None:
    table = metrics_of(tmp_path / "work", "bssfp_to_t2.yaml")
    assert set(table["structure"]) == {"LV", "MYO", "RV"}
    drawn = tmp_path / "work" / "results" / "phantom"
    check_masks(tmp_path / "work", heart.release_files(drawn, 6)["T2"], {500, 200, 600})
    assert not list(drawn.rglob("*LGE*"))
    assert {path.name for path in (tmp_path / "work" / "results" / "cropped").iterdir()} == {"bSSFP", "T2", "labels"}


def test_target_may_be_bssfp_and_source_lge(tmp_path: Path) -> None:
    table = metrics_of(tmp_path / "work", "lge_to_bssfp.yaml")
    assert set(table["structure"]) == {"LV", "MYO", "RV"}
    drawn = heart.release_files(tmp_path / "work" / "results" / "phantom", 6)
    check_masks(tmp_path / "work", drawn["bSSFP"], {500, 200, 600})
    # The labels that the networks learn are those of LGE.
    crop = nib.load(tmp_path / "work" / "results" / "cropped" / "labels" / "6.nii.gz")
    assert crop.shape[2] == nib.load(drawn["LGE"]).shape[2] != nib.load(drawn["bSSFP"]).shape[2]


@pytest.mark.parametrize("size", ["mscmrseg_quick.yaml", "mscmrseg_gpu.yaml"])
def test_recipes_for_patients_differ_in_size_alone(tmp_path: Path, size: str) -> None:
    overlay = SHORTER.replace("[1]", "[1, 2]", 1) + "synthesis: {samples: 1}"
    jobs = planned(tmp_path / "work", example=f"mscmrseg.yaml {size}", overlay=overlay)
    assert (
        jobs["fuse"]
        and jobs["self_train_cascade"]
        and jobs == planned(tmp_path / "work", example="mscmrseg.yaml", overlay=overlay)
    )


def test_workflow_segments_another_organ(tmp_path: Path) -> None:
    draw = [sys.executable, str(ROOT / "demo" / "draw_brains.py"), str(tmp_path / "heads"), "--subjects", "7"]
    subprocess.run(draw, check=True, timeout=120)
    table = metrics_of(tmp_path / "work", "brain.yaml", data=tmp_path / "heads")
    assert set(table["structure"]) == {"ventricles", "nuclei"}
    assert table["wall_thickness_mm"].isna().all()
    check_masks(tmp_path / "work", tmp_path / "heads" / "6" / "t2.nii.gz", {1, 2})
    # Both examinations show one head: its labels, carried over by their scanner coordinates alone, nearly fit.
    carried = table[table["method"] == "registration_none"]
    assert (carried["dice"] > 0.5).all(), carried


def test_network_of_a_library_replaces_the_unets(run: Path, tmp_path: Path) -> None:
    """In the place of the U-Nets of a finished run, to the masks of an ensemble of one."""
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    mask = folder / "results" / "masks" / "ensemble_pp" / "6.nii.gz"
    before = mask.read_bytes()
    overlay = "{ensemble: [1], segmentation: {network: segresnet}}"
    finished = snakemake(folder, "results/masks/ensemble_pp/6.nii.gz", overlay=overlay)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert mask.read_bytes() != before
    for name, inputs in (("unet_finetuned", 1), ("cascade_finetuned", 5)):
        weights = checkpoints.load(folder / "results" / "segmentation" / "seed1" / f"{name}.pt")["weights"]
        assert weights["convInit.conv.weight"].shape == (4, inputs, 3, 3)
