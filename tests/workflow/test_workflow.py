"""The workflow itself, run for real at the smallest size."""

import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from cardioseg import phantom

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "workflow" / "config.yaml"
REGISTRATIONS = ["registration_none", "registration_rigid", "registration_affine", "registration"]
PARTS = ["cascade_ft_crf", "cascade_ft_morphology"]
METHODS = [*REGISTRATIONS, "unet", "unet_ft", "cascade_ft", *PARTS, "cascade_ft_pp", "ensemble", "ensemble_pp"]

pytestmark = pytest.mark.slow


def snakemake(
    folder: Path, *arguments: str, data: Path | None = None, overlay: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the tiny workflow in a folder, on `data` if given, with the keys of `overlay` (YAML) changed."""
    command = call(folder, *arguments, data=data, overlay=overlay)
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


def call(folder: Path, *arguments: str, data: Path | None = None, overlay: str = "") -> list[str]:
    """The command of `snakemake`."""
    (folder.parent / "overlay.yaml").write_text(overlay)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--cores", str(min(4, os.cpu_count() or 1)), *arguments]
    command += ["--configfile", str(TINY), *([str(folder.parent / "overlay.yaml")] if overlay else [])]
    return command + (["--config", f"data={data}"] if data else [])


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished tiny workflow on the phantom."""
    folder = tmp_path_factory.mktemp("run")
    finished = snakemake(folder)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return folder


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw volumes of the tiny workflow's patients in the release's layout, at a quarter of the matrix."""
    folder = tmp_path_factory.mktemp("cohort") / "a release"
    for patient in (1, 6, 7):
        phantom.write_patient(folder, patient, seed=5, matrix_scale=0.25)
    return folder


@pytest.fixture
def broken(cohort: Path, tmp_path: Path) -> Path:
    """A copy of the cohort to damage."""
    return Path(shutil.copytree(cohort, tmp_path / "data"))


def test_metrics_hold_every_method_patient_and_structure(run: Path) -> None:
    table = pd.read_csv(run / "results" / "metrics.csv", dtype={"patient": str})
    assert list(table.columns[:6]) == ["method", "split", "patient", "structure", "dice", "asd_mm"]
    assert sorted(set(table["method"])) == sorted(METHODS)
    assert set(zip(table["split"], table["patient"], strict=True)) == {("validation", "1"), ("test", "6")}
    assert set(table["structure"]) == {"LV", "MYO", "RV"}
    members = table.groupby(["method", "patient", "structure"]).size()
    assert set(members["ensemble_pp"]) == {1}
    assert set(members["cascade_ft"]) == {2}
    assert table["dice"].between(0, 1).all()


def test_tables_and_clinical_quantities(run: Path) -> None:
    results = run / "results"
    table = pd.read_csv(results / "table1.csv")
    assert sorted(set(table["method"])) == sorted(METHODS)
    # The phantom is not the paper's cohort.
    assert set(table["source"]) == {"this cohort"}
    assert "| Ensemble + PP |" in (results / "table1.md").read_text()
    assert (results / "table1.tex").read_text().count(r"\begin{table}") == 2
    assert {"method", "compared_with", "p_holm"} <= set(pd.read_csv(results / "significance.csv"))
    clinical = pd.read_csv(results / "clinical.csv")
    assert set(clinical["method"]) == {"manual", *METHODS}
    assert clinical.loc[clinical["method"] == "manual", "MYO_thickness_mm"].between(5, 15).all()
    assert set(pd.read_csv(results / "bland_altman.csv")["method"]) == set(METHODS)
    assert (results / "figures" / "bland_altman.svg").exists()


def test_masks_have_the_raw_geometry_and_codes(run: Path) -> None:
    for patient in ("1", "6"):
        raw = nib.load(phantom.release_files(run / "results" / "phantom", int(patient))["LGE"])
        for model in (
            "registration",
            "unet/seed1",
            "cascade_ft_crf/seed1",
            "cascade_ft_pp/seed2",
            "ensemble",
            "ensemble_pp",
        ):
            mask = nib.load(run / "results" / "masks" / model / f"{patient}.nii.gz")
            assert mask.shape == raw.shape
            np.testing.assert_allclose(mask.affine, raw.affine, atol=1e-6)
            assert set(np.unique(mask.dataobj)) <= {0, 200, 500, 600}
    assert np.asarray(mask.dataobj).any()


def test_a_touched_script_repeats_nothing(run: Path) -> None:
    (ROOT / "workflow_scripts" / "train_munit.py").touch()
    again = snakemake(run, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_synthetic_volumes_differ_between_samples_and_seeds(run: Path) -> None:
    folder = run / "results" / "synthetic"
    names = [folder / f"seed{seed}" / f"6_{sample}.nii.gz" for seed in (1, 2) for sample in (1, 2)]
    contents = [np.asarray(nib.load(name).dataobj) for name in names]
    assert len({content.tobytes() for content in contents}) == len(names)
    assert all(content.dtype == np.float32 and np.abs(content).max() <= 1 for content in contents)


def test_translation_is_judged_beside_its_references(run: Path) -> None:
    table = pd.read_csv(run / "results" / "translation.csv", dtype={"seed": "Int64"})
    assert set(table["images"]) == {"bSSFP", "LGE", "synthetic LGE"}
    assert set(table.loc[table["images"] == "synthetic LGE", "seed"].dropna()) == {1, 2}
    assert {"LV", "MYO", "RV", "AVG"} < set(table["structure"])
    counts = table[table["images"] == "synthetic LGE"].groupby("measure")["n"].max()
    # Over both seeds: two patients with two samples each.
    assert counts["boundary_edge_ratio"] == 8
    assert counts["diversity_l1"] == 4
    assert table["value"].notna().mean() > 0.9


def test_cohort_is_reported(run: Path) -> None:
    table = pd.read_csv(run / "results" / "cohort" / "cohort.csv", dtype={"patient": str})
    assert len(table) == 6
    assert table.loc[(table["modality"] == "bSSFP") & (table["patient"] == "6"), "splits"].item() == (
        "labelled translation_source"
    )


def test_a_second_call_does_nothing(run: Path) -> None:
    again = snakemake(run)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def test_changed_postprocessing_retrains_nothing(run: Path) -> None:
    plan = snakemake(run, "--dry-run", "--quiet", "rules", overlay="postprocessing: {crf: {bilateral_mm: 7}}")
    jobs = set(re.findall(r"^(\w+) +\d+$", plan.stdout + plan.stderr, re.MULTILINE)) - {"total"}
    postprocessing, tables = {"postprocess", "postprocess_ensemble"}, {"table1", "clinical"}
    figures = {"figure_segmentations", "figure_distributions", "figure_worst"}
    assert jobs == {"all", "evaluate", "metrics", "provenance"} | postprocessing | tables | figures


def test_classes_are_the_structures_in_the_configured_order(run: Path) -> None:
    raw = nib.load(phantom.release_files(run / "results" / "phantom", 6)["bSSFP_labels"])
    crop = nib.load(run / "results" / "cropped" / "labels" / "6.nii.gz")
    for label, code in ((1, 500), (2, 200), (3, 600)):
        volumes = [
            np.count_nonzero(np.asarray(image.dataobj) == value) * np.prod(image.header.get_zooms())
            for image, value in ((crop, label), (raw, code))
        ]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.05)


def test_a_killed_run_on_a_raw_cohort_goes_on_to_the_same_metrics(run: Path, tmp_path: Path) -> None:
    data = run / "results" / "phantom"
    folder = tmp_path / "work"
    with (tmp_path / "log").open("w") as log:
        command = call(folder, "results/metrics.csv", data=data)
        killed = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for(folder / "results" / ".state" / "translation", killed)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    assert not (folder / "results" / "metrics.csv").exists()
    assert snakemake(folder, "--unlock", data=data).returncode == 0
    finished = snakemake(folder, "results/metrics.csv", "--rerun-incomplete", data=data)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert (folder / "results" / "metrics.csv").read_bytes() == (run / "results" / "metrics.csv").read_bytes()


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a running process has made a path."""
    while not path.exists():
        assert process.poll() is None, "ended too early"
        time.sleep(0.02)


def test_raw_cohort_is_planned(cohort: Path, tmp_path: Path) -> None:
    planned = snakemake(tmp_path, "--dry-run", "--quiet", "rules", data=cohort)
    assert planned.returncode == 0, planned.stderr
    assert re.search(r"^resample +6$", planned.stdout + planned.stderr, re.MULTILINE)
    assert "phantom" not in planned.stdout + planned.stderr


def test_patient_without_source_labels_is_not_registered(broken: Path, tmp_path: Path) -> None:
    phantom.release_files(broken, 1)["bSSFP_labels"].unlink()
    planned = snakemake(tmp_path, "--dry-run", "--quiet", "rules", data=broken)
    assert planned.returncode == 0, planned.stderr
    assert re.search(r"^register +1$", planned.stdout + planned.stderr, re.MULTILINE)
    assert re.search(r"^evaluate +2$", planned.stdout + planned.stderr, re.MULTILINE)


def complaint(folder: Path, data: Path | None = None, overlay: str = "") -> str:
    """What the workflow says of a faulty input: before any job, without a traceback, with nothing written."""
    failed = snakemake(folder / "work", data=data, overlay=overlay)
    said = failed.stdout + failed.stderr
    assert failed.returncode != 0
    assert "Traceback" not in said
    assert "Job stats" not in said
    assert not list((folder / "work").rglob("results/*"))
    return said


def test_truncated_file_is_named(broken: Path, tmp_path: Path) -> None:
    victim = phantom.release_files(broken, 6)["LGE"]
    victim.write_bytes(victim.read_bytes()[:5000])
    assert victim.name in complaint(tmp_path, broken)


def test_four_dimensional_image_is_named(broken: Path, tmp_path: Path) -> None:
    victim = phantom.release_files(broken, 7)["bSSFP"]
    image = nib.load(victim)
    nib.save(nib.Nifti1Image(np.stack([np.asarray(image.dataobj)] * 2, axis=-1), image.affine), victim)
    said = complaint(tmp_path, broken)
    assert victim.name in said
    assert "4 dimensions" in said


def test_all_zero_volume_is_named(broken: Path, tmp_path: Path) -> None:
    victim = phantom.release_files(broken, 1)["LGE"]
    image = nib.load(victim)
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.int16), image.affine), victim)
    assert victim.name in complaint(tmp_path, broken)


def test_label_with_an_unexpected_code_is_named(broken: Path, tmp_path: Path) -> None:
    victim = phantom.release_files(broken, 6)["bSSFP_labels"]
    image = nib.load(victim)
    labels = np.asarray(image.dataobj).copy()
    labels[3, 4, 2] = 7
    nib.save(nib.Nifti1Image(labels, image.affine), victim)
    said = complaint(tmp_path, broken)
    assert victim.name in said
    assert "7" in said
    assert "500 (LV)" in said


def test_file_that_is_no_gzip_is_named(broken: Path, tmp_path: Path) -> None:
    victim = phantom.release_files(broken, 6)["bSSFP"]
    victim.write_bytes(gzip.decompress(victim.read_bytes()))
    assert victim.name in complaint(tmp_path, broken)


def test_all_faulty_files_are_listed_at_once(broken: Path, tmp_path: Path) -> None:
    victims = [phantom.release_files(broken, patient)["LGE"] for patient in (1, 7)]
    for victim in victims:
        victim.write_bytes(b"")
    said = complaint(tmp_path, broken)
    assert all(victim.name in said for victim in victims)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    assert "nowhere" in complaint(tmp_path, tmp_path / "nowhere")


def test_unknown_key_is_named(tmp_path: Path) -> None:
    said = complaint(tmp_path, overlay="translation: {iteration: 5}")
    assert "unknown key translation.iteration" in said
    assert "did you mean iterations?" in said


def test_indivisible_crop_is_named(tmp_path: Path) -> None:
    said = complaint(tmp_path, overlay="cropping: {size: 70}")
    assert "cropping.size: 70 is not divisible" in said
