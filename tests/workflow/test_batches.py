"""Jobs that do several patients make what jobs for one patient make, and compute no patient without need."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bad_input import name_the_patient
from calls import ROOT, artifacts, call, jobs, planned, snakemake, wait_for
from cardioseg.phantoms import heart
from support import timings

pytestmark = pytest.mark.slow

METRICS = "results/metrics.csv"
SEVERAL = "compute: {jobs_per_step: 1}"
# Patients 1 and 6 are segmented, 6 and 7 are learnt from.
STEPS_OF_BOTH = {"register", "predict", "postprocess", "evaluate"}


@pytest.fixture(scope="session")
def batched_run(run: Path, made_once) -> Path:
    """A folder with raw volumes in `data` and the workflow to the metrics, several patients a job."""

    def make(folder: Path) -> None:
        shutil.copytree(run / "results" / "phantom", folder / "data")
        for path in (folder / "data").rglob("*.nii.gz"):
            name_the_patient(path)
        finished = snakemake(folder, METRICS, data="data", overlay=SEVERAL)
        assert finished.returncode == 0, finished.stdout + finished.stderr

    return made_once("batched_run", make)


@pytest.fixture
def work(batched_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run with several patients a job, for calls with other settings."""
    folder = Path(shutil.copytree(batched_run, tmp_path / "work", symlinks=True))
    (folder / "results" / "cohort" / "made_from.json").unlink()
    return folder


def made(folder: Path) -> dict[str, str]:
    """Checksums of what the data's flow makes, without records that hold times."""
    return {path: content for path, content in artifacts(folder).items() if not path.startswith("cohort/")}


def up_to_date(folder: Path, step: str) -> set[str]:
    """The patients that the last job of a step did not compute."""
    (log,) = (folder / "results" / "logs" / step).glob("*.log")
    return set(re.findall(r"patient (\w+): up to date", log.read_text()))


def change(folder: Path, patient: int) -> None:
    """Change a voxel of a patient's target image."""
    path = heart.release_files(folder / "data", patient)["LGE"]
    image = nib.load(path)
    values = np.asarray(image.dataobj).copy()
    values[3, 4, 2] += 100
    nib.save(nib.Nifti1Image(values, image.affine, image.header), path)


def test_several_patients_a_job_make_the_same_bytes(raw_run: Path, batched_run: Path) -> None:
    logs = {path.name for path in (batched_run / "results" / "logs" / "predict").iterdir()}
    assert logs == {"1..6.log"}
    assert made(batched_run) == made(raw_run)


@pytest.mark.parametrize("number", ["1", "2", "3"])
def test_another_number_of_jobs_repeats_nothing(work: Path, raw_run: Path, number: str) -> None:
    overlay = f"compute: {{jobs_per_step: {number}}}"
    assert planned(work, METRICS, data="data", overlay=overlay) == Counter()


def test_a_run_with_one_patient_a_job_goes_on_with_several(raw_run: Path, tmp_path: Path) -> None:
    work = Path(shutil.copytree(raw_run, tmp_path / "work", symlinks=True))
    assert planned(work, METRICS, data="data", overlay=SEVERAL) == Counter()


def test_timings_of_jobs_that_others_have_replaced_do_not_count(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repeated = "postprocessing: {crf: {bilateral_mm: 7}}"
    finished = snakemake(work, METRICS, data="data", overlay=repeated)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    monkeypatch.chdir(work)
    folder = Path("results/benchmarks")
    counted = {str(path.relative_to(folder)) for path in timings.counted(folder)}
    assert {"postprocess/1.tsv", "postprocess/6.tsv", "predict/1..6.tsv"} < counted
    there = {str(path.relative_to(folder)) for path in folder.rglob("*.tsv")}
    assert there - counted == {"postprocess/1..6.tsv", "evaluate/1..6.tsv"}


def test_a_changed_patient_alone_is_computed_again(work: Path, raw_run: Path, tmp_path: Path) -> None:
    single = Path(shutil.copytree(raw_run, tmp_path / "single" / "work", symlinks=True))
    for folder in (work, single):
        change(folder, 1)
    once = Counter(crop=1, metrics=1) + Counter(STEPS_OF_BOTH)
    plan = planned(work, METRICS, data="data", overlay=SEVERAL)
    assert plan == once, "no training, and one job a step"
    for folder, overlay in ((work, SEVERAL), (single, "")):
        finished = snakemake(folder, METRICS, data="data", overlay=overlay)
        assert finished.returncode == 0, finished.stdout + finished.stderr
    for step in STEPS_OF_BOTH:
        assert up_to_date(work, step) == {"6"}, step
    assert made(work) == made(single)
    assert planned(work, METRICS, data="data", overlay=SEVERAL) == Counter()


def test_an_added_patient_repeats_no_training(work: Path) -> None:
    heart.write_patient(work / "data", 8, 1, matrix_scale=0.5)
    overlay = f"{SEVERAL}\ncohort: {{splits: {{test: ['6', '8']}}}}"
    plan = planned(work, METRICS, data="data", overlay=overlay)
    assert plan == Counter(crop=1, metrics=1) + Counter(STEPS_OF_BOTH)


def test_a_killed_job_keeps_whom_it_finished(work: Path) -> None:
    targets = [f"results/masks/registration/{patient}.nii.gz" for patient in (1, 6)]
    overlay = f"{SEVERAL}\nregistration: {{iterations: 140}}"
    notes = {patient: work / ".snakemake" / "kept" / "register" / patient / "note.json" for patient in "16"}
    for note in notes.values():
        note.unlink()
    command = call(work, *targets, data="data", overlay=overlay)
    with (work.parent / "log").open("w") as log:
        killed = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for(notes["1"], killed)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    assert not notes["6"].exists()
    assert snakemake(work, "--unlock", data="data", overlay=overlay).returncode == 0
    resumed = snakemake(work, *targets, data="data", overlay=overlay)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert up_to_date(work, "register") == {"1"}


def test_one_bad_patient_is_named_and_costs_the_others_nothing(work: Path) -> None:
    expected = made(work)
    mask = work / "results" / "masks" / "unet" / "seed1" / "6.nii.gz"
    good = mask.read_bytes()
    mask.write_bytes(b"no mask")
    (work / METRICS).unlink()
    failed = snakemake(work, METRICS, data="data", overlay=SEVERAL)
    said = failed.stdout + failed.stderr
    assert failed.returncode != 0
    assert "Error: patient 6: results/masks/unet/seed1/6.nii.gz" in said
    assert "1 of 2 patients failed: 6." in said
    mask.write_bytes(good)
    mended = snakemake(work, METRICS, data="data", overlay=SEVERAL)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "1" in up_to_date(work, "evaluate")
    assert made(work) == expected


def test_no_job_mixes_whom_a_training_learns_from_with_others(tmp_path: Path) -> None:
    overlay = """
compute: {jobs_per_step: 2}
cohort:
  splits:
    {labelled: ["6-10"], translation_source: ["6-15"], translation_target: ["10-19"], validation: [], test: ["1-30"]}
self_training: {epochs: 1, learning_rate: 0.001, targets: probabilities, fused: true, least_agreement: 0.5}
fusion: {labels: [manual], stage: affine, weight: 0.3, blur_mm: [0, 1, 1], least_agreement: 0.5, least_area: 0.1}
"""
    learnt_from = {f"results/cropped/LGE/{patient}.nii.gz" for patient in range(10, 20)}
    learnt_from |= {f"results/cropped/bSSFP/{patient}.nii.gz" for patient in range(6, 16)}
    found = jobs(tmp_path / "work", overlay=overlay)
    crops = [set(job.outputs) for job in found if job.rule.startswith("crop")]
    images = [{path for path in outputs if re.match("results/cropped/(LGE|bSSFP)", path)} for outputs in crops]
    assert max(map(len, images)) >= 10
    for batch in images:
        assert batch <= learnt_from or not batch & learnt_from


def test_demo_and_large_cohorts_have_few_jobs(tmp_path: Path) -> None:
    """A cohort of 120 is planned with three patients a job."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--dry-run",
        "--quiet",
        "rules",
    ]
    command += ["--directory", str(tmp_path / "demo"), "--configfile", str(ROOT / "demo" / "config.yaml")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(re.search(r"^total +(\d+)$", said, re.MULTILINE)[1]) <= 110
    large = planned(tmp_path / "large", overlay='cohort: {splits: {validation: [], test: ["1-120"]}}')
    assert large["predict"] == large["evaluate"] == 40


def test_cluster_gets_a_batch_as_one_job_and_a_minute_a_patient(tmp_path: Path) -> None:
    overlay = """
compute: {jobs_per_step: 4}
cohort: {splits: {validation: [], test: ["1-40"]}}
"""
    arguments = ["--default-resources", "runtime=3", "--group-components", "inference=5", "cropping=20"]
    said = snakemake(tmp_path / "work", "--dry-run", *arguments, overlay=overlay).stdout
    assert said.count("Group job inference_in_batches") == 4
    assert "Group job inference " not in said
    minutes = re.findall(r"rule predict:.*?runtime=(\d+)", said, re.DOTALL)
    assert minutes == ["10"] * 4
    assert "runtime=3" in said, "of a job that does one thing"
