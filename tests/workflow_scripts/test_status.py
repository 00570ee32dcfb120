"""How far a run is, told from Snakemake's log and the trainings' own."""

import os
import queue
import subprocess
import sys
from pathlib import Path

import pytest

from support import status

LOG = """\
Job stats:
job              count
-------------  -------
total                6

[Thu Nov 26 02:15:59 2020]
rule resample:
    jobid: 1
Job 1 has been submitted with SLURM jobid 7 (log: a.log).
[Thu Nov 26 02:15:59 2020]
Group job cropping (jobs in lexicogr. order):
    rule crop:
        jobid: 2
    rule crop:
        jobid: 3
[Thu Nov 26 02:15:59 2020]
rule pretrain_unet:
    jobid: 4
[Thu Nov 26 02:16:10 2020]
Finished jobid: 1 (Rule: resample)
1 of 6 steps (17%) done
[Thu Nov 26 02:16:20 2020]
Error in rule pretrain_unet:
    message: SLURM-job '8' failed
    jobid: 4
"""
RESTARTED = LOG + "Trying to restart job 4.\n[Thu Nov 26 02:16:30 2020]\nrule pretrain_unet:\n    jobid: 4\n"


def write(folder: Path, name: str, text: str) -> None:
    path = folder / ".snakemake" / "log" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_progress(folder: Path, name: str, text: str, time: float) -> None:
    path = folder / "results" / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time, time))


@pytest.mark.parametrize(("text", "working", "to_come"), [(LOG, 2, 3), (RESTARTED, 3, 2)])
def test_steps_are_done_at_work_or_to_come(tmp_path: Path, text: str, working: int, to_come: int) -> None:
    write(tmp_path, "2020-11-26T021500.123.snakemake.log", text)
    assert status.report(tmp_path) == [f"1 of 6 steps done, {working} at work, {to_come} to come"]


def test_plans_and_older_runs_do_not_count(tmp_path: Path) -> None:
    write(tmp_path, "2020-11-25T021500.123.snakemake.log", LOG.replace("1 of 6 steps", "5 of 6 steps"))
    write(tmp_path, "2020-11-26T021500.123.snakemake.log", LOG)
    write(tmp_path, "2020-11-27T021500.123.snakemake.log", LOG + "This was a dry-run (flag -n).\n")
    write(tmp_path, "2020-11-28T021500.123.snakemake.log", "Unlocking working directory.\n")
    assert status.report(tmp_path)[0].startswith("1 of 6 steps done")


def test_run_that_has_finished_nothing_yet(tmp_path: Path) -> None:
    write(tmp_path, "2020-11-26T021500.123.snakemake.log", LOG[: LOG.index("[")])
    assert status.report(tmp_path) == ["0 of 6 steps done, 0 at work, 6 to come"]


def test_trainings_at_work_are_told_with_the_time_left(tmp_path: Path) -> None:
    write(tmp_path, "2020-11-26T021500.123.snakemake.log", LOG)
    line = "02:16:00 unet_pretrained: {}/100  loss 0.5  3.4 it/s, {} left\n"
    later, before = 2e9, 1e9
    halfway = "02:15:59 unet_pretrained: continues after iteration 20 of 100\n" + line.format(50, "1 day, 0:10:00")
    write_progress(tmp_path, "segmentation/seed1/unet_pretrained.log", line.format(30, "1:00:00") + halfway, later)
    write_progress(tmp_path, "segmentation/seed2/unet_pretrained.log", line.format(100, "0:00:00"), later)
    write_progress(tmp_path, "segmentation/seed3/unet_pretrained.log", line.format(40, "0:01:00"), before)
    write_progress(tmp_path, "slurm/rule_pretrain_unet/1/7.log", line.format(50, "0:10:00"), later)
    assert status.report(tmp_path)[1:] == ["segmentation/seed1/unet_pretrained 50/100, 1 day, 0:10:00 left"]


def test_command_says_that_a_folder_has_no_run(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, status.__file__, str(tmp_path)], capture_output=True, text=True, check=True)
    assert ran.stdout == f"No run in {tmp_path}: name the folder that holds its results/.\n"


def test_report_is_told_every_so_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: queue.Queue[Path] = queue.Queue()

    def report(folder: Path) -> list[str]:
        asked.put(folder)
        return ["1 of 2 steps done", "munit 3/4"]

    monkeypatch.setattr(status, "report", report)
    monkeypatch.setattr(status, "EVERY_S", 0.001)
    over = status.keep_telling(tmp_path)
    try:
        assert [asked.get(timeout=30) for _ in range(3)] == [tmp_path] * 3
    finally:
        over.set()
    assert capfd.readouterr().err.startswith("1 of 2 steps done; munit 3/4\n1 of 2 steps done; munit 3/4\n")
