"""What runs again after an edit: on copies of a finished run, the jobs of a dry run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from calls import ROOT, planned, snakemake
from cardioseg.phantoms import heart

pytestmark = pytest.mark.slow

TWO_SECONDS = 2_000_000_000  # in ns, as on FAT
NOTHING: Counter[str] = Counter()
AFTER_NETWORKS = Counter(predict=2, evaluate=2, metrics=1)
AFTER_TRANSLATION = AFTER_NETWORKS + Counter(synthesise=2, finetune_unet=2, pretrain_cascade=2, finetune_cascade=2)
EVERYTHING = AFTER_TRANSLATION + Counter(
    train_localiser=1, crop=3, crop_labelled=1, train_translation=1, pretrain_unet=2
)
# Steps for one of the two patients that are segmented.
AFTER_A_VOLUME = Counter(crop=1, predict=1, evaluate=1, metrics=1)
STEPS = set(EVERYTHING)


@pytest.fixture
def work(raw_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run on raw data."""
    return Path(shutil.copytree(raw_run, tmp_path / "work"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def plan(work: Path, **options: Path | str) -> Counter[str]:
    """The jobs that would run to the metrics."""
    return planned(work, "results/metrics.csv", data="data", **options)


def steps(jobs: Counter[str]) -> Counter[str]:
    """Those of the data flow; what else is made of the masks does not matter here."""
    return Counter({rule: count for rule, count in jobs.items() if rule in STEPS})


def files(work: Path) -> list[Path]:
    """Raw and made files, the oldest first."""
    paths = [path for folder in ("data", "results") for path in (work / folder).rglob("*") if path.is_file()]
    return sorted(paths, key=lambda path: path.stat().st_mtime_ns)


def change(path: Path) -> None:
    """Change a voxel of an image."""
    image = nib.load(path)
    values = np.asarray(image.dataobj).copy()
    values[3, 4, 2] += 1
    nib.save(nib.Nifti1Image(values, image.affine, image.header), path)


def raw(work: Path, patient: int, name: str) -> Path:
    return heart.release_files(work / "data", patient)[name]


def test_unchanged_run_repeats_nothing(work: Path) -> None:
    assert plan(work) == NOTHING


def test_touched_raw_files_repeat_nothing(work: Path) -> None:
    for path in (work / "data").rglob("*.nii.gz"):
        os.utime(path)
    assert plan(work) == NOTHING


def test_clock_set_back_during_the_run(work: Path) -> None:
    """What came first has the latest time."""
    paths = files(work)
    for path, time in zip(paths, reversed([path.stat().st_mtime_ns for path in paths]), strict=True):
        os.utime(path, ns=(time, time))
    assert plan(work) == NOTHING


def test_raw_files_from_the_future_repeat_nothing(work: Path) -> None:
    for path in (work / "data").rglob("*.nii.gz"):
        os.utime(path, (4e9, 4e9))
    assert plan(work) == NOTHING


def test_coarse_time_stamps_repeat_nothing_and_miss_no_change(work: Path) -> None:
    for path in files(work):
        coarse = path.stat().st_mtime_ns // TWO_SECONDS * TWO_SECONDS
        os.utime(path, ns=(coarse, coarse))
    assert plan(work) == NOTHING
    change(raw(work, 1, "LGE"))
    assert steps(plan(work)) == AFTER_A_VOLUME


def test_data_under_another_path_repeats_nothing(work: Path) -> None:
    """Absolute, spelled in other ways, moved, copied without its times, and `.`, below which results lie, too."""
    target = "results/metrics.csv"
    (work / "link").symlink_to("data")
    for data in (work / "data", "./data/", "link", work / "link"):
        assert planned(work, target, data=data) == NOTHING
    (work / "data").rename(work.parent / "moved")
    assert planned(work, target, data=work.parent / "moved") == NOTHING
    shutil.copytree(work.parent / "moved", work / "copied", copy_function=shutil.copyfile)
    assert planned(work, target, data="copied") == NOTHING
    change(heart.release_files(work / "copied", 1)["LGE"])
    assert steps(planned(work, target, data="copied")) == AFTER_A_VOLUME
    shutil.rmtree(work / "copied")
    shutil.copytree(work.parent / "moved", work, dirs_exist_ok=True)  # beside the results
    assert planned(work, target, data=".") == NOTHING


def test_table_of_the_cohort_names_files_that_are_there_after_the_data_moved(work: Path) -> None:
    target = "results/cohort/cohort.csv"
    made = snakemake(work, target, data=work / "data")
    assert made.returncode == 0, made.stdout + made.stderr
    (work / "data").rename(work.parent / "moved")
    assert planned(work, target, data=work.parent / "moved") == NOTHING
    images = pd.read_csv(work / target)["image"]
    assert len(images) == 6
    assert all((work.parent / "moved" / image).is_file() for image in images)


def test_link_led_back_to_earlier_data_is_not_missed(work: Path) -> None:
    """The data's folder is a link, and the files of both places are as old as each other."""
    shutil.copytree(work / "data", work / "other")
    change(heart.release_files(work / "other", 1)["LGE"])
    target = "results/cropped/LGE/1.nii.gz"
    crop = Counter(crop=1)
    for folder, expected in (("data", NOTHING), ("other", crop), ("data", crop), ("data", NOTHING)):
        (work / "link").unlink(missing_ok=True)
        (work / "link").symlink_to(folder)
        assert planned(work, target, data="link") == expected
        finished = snakemake(work, target, data="link")
        assert finished.returncode == 0, finished.stdout + finished.stderr


def test_masks_that_need_the_source_examination_are_removed_with_it(work: Path) -> None:
    for name in ("bSSFP", "bSSFP_labels"):
        raw(work, 1, name).unlink()
    masks = work / "results" / "masks"
    registered = sorted(masks.glob("registration*/1.nii.gz"))
    assert len(registered) == 4
    tidied = snakemake(work, "tidy", data="data")
    assert tidied.returncode == 0, tidied.stdout + tidied.stderr
    assert not any(path.exists() for path in registered)
    left = {path.parent for path in masks.rglob("1.nii.gz")}
    assert left == {path.parent for path in masks.rglob("6.nii.gz")} - {path.parent for path in registered}


def test_results_that_were_moved_without_their_records_are_refused(work: Path) -> None:
    """Snakemake would say that nothing is to be done, also after a change of settings."""
    (work / ".snakemake").rename(work.parent / "left behind")
    for _ in range(2):
        refused = snakemake(work, "--dry-run", data="data", overlay="postprocessing: {crf: {bilateral_mm: 7}}")
        assert refused.returncode != 0
        assert ".snakemake beside it has none of Snakemake's records" in refused.stdout + refused.stderr
    (work.parent / "left behind").rename(work / ".snakemake")
    assert plan(work) == NOTHING


def test_phantom_does_not_replace_a_cohort(work: Path) -> None:
    refused = snakemake(work, "results/metrics.csv", "--dry-run")
    said = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert "this call names no data (--config data=FOLDER)" in said
    command = re.search(r"first remove the record of how they were made: (rm .*)", said)
    assert command, said
    subprocess.run(shlex.split(command.group(1)), check=True, cwd=work)
    assert planned(work, "results/metrics.csv")["phantom"] > 0


def test_settings_are_not_forgotten(work: Path) -> None:
    """Without the tiny workflow's configuration everything would be made anew at the paper's size."""
    call_of_the_paper = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1"]
    refused = subprocess.run(
        [*call_of_the_paper, "--dry-run", "--directory", str(work), "--config", "data=data"],
        capture_output=True,
        text=True,
    )
    assert refused.returncode != 0
    assert "was made with --configfile workflow/config.yaml, which this call lacks" in refused.stdout + refused.stderr


def test_changed_raw_file_with_an_old_time_is_not_missed(work: Path) -> None:
    """As of a corrected release, unzipped over the old one."""
    victim = raw(work, 1, "LGE")
    change(victim)
    os.utime(victim, (1e9, 1e9))
    assert steps(plan(work)) == AFTER_A_VOLUME


def test_changed_raw_volume_repeats_the_steps_of_its_patient(work: Path) -> None:
    change(raw(work, 1, "LGE"))
    assert steps(plan(work)) == AFTER_A_VOLUME


def test_changed_raw_volume_for_the_translation_repeats_it(work: Path) -> None:
    victim = raw(work, 7, "LGE")
    image = nib.load(victim)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[..., ::-1], image.affine, image.header), victim)
    own = Counter(crop=1, train_translation=1)
    assert steps(plan(work)) == own + AFTER_TRANSLATION


def test_changed_postprocessing_repeats_it_and_what_follows(run: Path, tmp_path: Path) -> None:
    jobs = planned(shutil.copytree(run, tmp_path / "run"), overlay="postprocessing: {crf: {bilateral_mm: 7}}")
    tables = {"table1", "clinical"}
    scar = {"examine", "collect_examinations"}
    figures = {"figure_segmentations", "figure_distributions", "figure_worst", "overview"}
    assert set(jobs) == {"postprocess", "evaluate", "metrics", "export", "provenance"} | scar | tables | figures


def test_other_values_in_the_masks_repeat_no_training(work: Path) -> None:
    codes = "codes: {LV: 500, MYO: 200, RV: 600}"
    overlay = f"cohort: {{structures: {{LV: 1, MYO: 2, RV: 3}}, source: {{{codes}}}, target: {{{codes}}}}}"
    assert steps(plan(work, overlay=overlay)) == AFTER_NETWORKS


@pytest.mark.parametrize("change", ["weights: {image: 9}", "precision: bfloat16"])
def test_changed_translation_repeats_it_and_what_follows(work: Path, change: str) -> None:
    jobs = plan(work, overlay=f"translation: {{{change}}}")
    assert steps(jobs) == Counter(train_translation=1) + AFTER_TRANSLATION


def test_added_seed_trains_only_its_own_networks(work: Path) -> None:
    networks = Counter(synthesise=1, pretrain_unet=1, finetune_unet=1, pretrain_cascade=1, finetune_cascade=1)
    assert steps(plan(work, overlay="ensemble: [1, 2, 3]")) == networks + AFTER_NETWORKS


def test_changed_device_and_threads_repeat_nothing(work: Path) -> None:
    assert plan(work, overlay="compute: {device: cpu, threads: {segmentation: 2}}") == NOTHING


def test_deleted_intermediate_file_is_not_made_again(work: Path) -> None:
    """What is made from it is there."""
    (work / "results" / "cropped" / "LGE" / "1.nii.gz").unlink()
    assert plan(work) == NOTHING


def test_deleted_result_is_made_again(work: Path) -> None:
    (work / "results" / "metrics.csv").unlink()
    assert plan(work) == Counter(metrics=1)


def test_deleted_results_and_what_they_are_made_from(work: Path) -> None:
    """No network is trained for want of what is made with it."""
    for folder in ("probabilities", "masks", "metrics"):
        shutil.rmtree(work / "results" / folder)
    (work / "results" / "metrics.csv").unlink()
    assert steps(plan(work)) == AFTER_NETWORKS


def test_touched_code_runs_nothing_again(work: Path, code: Path) -> None:
    for path in code.rglob("*.py"):
        os.utime(path)
    assert plan(work, code=code) == NOTHING


def test_comment_and_docstring_in_the_library_repeat_nothing(work: Path, code: Path) -> None:
    edit(code / "cardioseg" / "segmentation" / "losses.py", "def composite_loss", "# A comment.\ndef composite_loss")
    edit(code / "cardioseg" / "preprocessing" / "resampling.py", '"""In-plane resampling,', '"""Resampling in-plane,')
    assert plan(work, code=code) == NOTHING


def test_changed_loss_of_segmentation_repeats_all_from_the_localiser_on(work: Path, code: Path) -> None:
    """The localiser has the same loss, and its training is the first."""
    edit(code / "cardioseg" / "segmentation" / "losses.py", "1e-12", "1e-10")
    assert steps(plan(work, code=code)) == EVERYTHING


def test_changed_loss_of_translation_repeats_it_and_what_follows(work: Path, code: Path) -> None:
    edit(code / "cardioseg" / "translation" / "munit.py", "(scores - 1).square()", "(scores - 1).abs()")
    assert steps(plan(work, code=code)) == Counter(train_translation=1) + AFTER_TRANSLATION


def test_python_of_another_patch_release_repeats_nothing(
    work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A patch release, told to every process as its own."""
    (tmp_path / "sitecustomize.py").write_text(
        "import platform, sys\n"
        "major, minor, patch = platform.python_version_tuple()\n"
        "sys.version = sys.version.replace(platform.python_version(), f'{major}.{minor}.{int(patch) + 1}', 1)\n"
        "sys.hexversion += 1 << 8\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert plan(work) == NOTHING
