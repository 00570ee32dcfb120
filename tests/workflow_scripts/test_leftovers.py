"""What earlier configurations made is told, and removed on demand; nothing else is."""

import os
from pathlib import Path

import pytest

from support import leftovers
from support.leftovers import Made

OLD = ["results/masks/unet/7.nii.gz", "results/metrics/7.csv", "results/uncertainty/7.nii.gz"]
KEPT = ["results/masks/unet/6.nii.gz", "results/metrics.csv"]
FOREIGN = ["results/masks/unet/drawn by hand.nii.gz", "results/notes.txt", "results/masks/readme"]
LOGS = ["results/logs/predict/7.log", "results/benchmarks/predict/7.tsv"]
LOGS_KEPT = ["results/logs/metrics.log", "results/benchmarks/metrics.tsv"]


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in map(Path, (*OLD, *KEPT, *FOREIGN, *LOGS, *LOGS_KEPT)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")


def made(path):
    return Made(Path(path).stat().st_mtime, [LOGS_KEPT[0]] if path in KEPT else [LOGS[0], LOGS_KEPT[0]])


def found():
    return leftovers.find({path: made(path) for path in (*OLD, *KEPT)}, {*KEPT, *LOGS_KEPT})


def test_leftovers_are_files_made_earlier_that_the_configuration_no_longer_makes():
    assert found() == sorted([*OLD, *LOGS])


def test_without_leftovers_nothing_is_told():
    assert leftovers.find({path: made(path) for path in KEPT}, {*KEPT, *LOGS_KEPT}) == []
    assert leftovers.told([]) == ""


def test_log_and_timing_of_a_job_that_made_wanted_files_too_stay():
    """It did several patients, of whom one is left out; jobs of another number of patients have other logs."""
    records = {path: Made(made(path).time, [LOGS[0]]) for path in (*OLD, *KEPT)}
    assert leftovers.find(records, KEPT) == sorted(OLD)


def test_file_that_was_changed_since_is_the_users():
    records = {path: made(path) for path in OLD}
    later = records[OLD[0]].time + 60
    os.utime(OLD[0], (later, later))
    assert OLD[0] not in leftovers.find(records, [])
    assert leftovers.changed(records, []) == [OLD[0]]


def test_files_that_were_copied_without_their_times_are_told_apart():
    """The user may have changed them. Files that are wanted are not named."""
    records = {path: Made(made(path).time - 60, made(path).logs) for path in (*OLD, *KEPT)}
    assert leftovers.find(records, KEPT) == []
    assert leftovers.changed(records, KEPT) == sorted(OLD)


def test_removal_leaves_all_other_files():
    leftovers.remove(found())
    left = {str(path) for path in Path("results").rglob("*") if path.is_file()}
    assert left == {*KEPT, *FOREIGN, *LOGS_KEPT}
    # Folders that are empty by it are gone.
    assert not Path("results/uncertainty").exists()
    assert not Path("results/logs/predict").exists()


def test_leftovers_are_told_by_folder_without_logs():
    assert leftovers.told(found()) == (
        "  results/masks/unet: 7.nii.gz\n  results/metrics: 7.csv\n  results/uncertainty: 7.nii.gz"
    )
