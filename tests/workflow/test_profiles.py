"""Profiles for schedulers other than Slurm, with stand-ins for their commands."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from calls import ROOT, call
from cardioseg.phantoms import heart

pytestmark = pytest.mark.slow

# Starts the job at once, and notes what was asked for.
QSUB = """#!/bin/sh
echo "$@" >> {folder}/asked
for script; do :; done
sh "$script" >> {folder}/output 2>&1
echo $? >> {folder}/ended
wc -l < {folder}/ended
"""
QSTAT = "#!/bin/sh\nexit 1\n"
QACCT = """#!/bin/sh
echo "failed       0"
echo "exit_status  $(sed -n "$2p" {folder}/ended)"
"""


@pytest.fixture
def grid_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the commands of a Grid Engine that has nobody else to serve."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("qsub", QSUB), ("qstat", QSTAT), ("qacct", QACCT)):
        (folder / name).write_text(text.replace("{folder}", str(folder)))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def profiled(work: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = ["--profile", str(ROOT / "profiles" / "sge"), "-j", "8", "--seconds-between-status-checks", "1"]
    return subprocess.run([*call(work, *arguments), *options], cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_grid_engine_is_asked_for_a_gpu_by_the_trainings_alone(tmp_path: Path) -> None:
    planned = profiled(tmp_path / "work", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    said = planned.stdout + planned.stderr
    asked = dict(re.findall(r"^ *rule (\w+):$.*?^ *resources: (.*?)$", said, re.MULTILINE | re.DOTALL))
    assert ["gpu=1" in resources for resources in asked.values()] == ["more=-l gpu=1" in r for r in asked.values()]
    assert "mem_mb=8000" in asked["pretrain_unet"]
    assert "runtime=1440" in asked["pretrain_unet"]
    assert "mem_mb=4000" in asked["predict"]
    assert "mem_mb=1500" in asked["metrics"]


def test_grid_engine_gets_a_group_as_one_job_and_its_end_is_seen(grid_engine: Path, tmp_path: Path) -> None:
    drawn = [str(heart.release_files(Path("results/phantom"), patient)["LGE"]) for patient in (6, 7)]
    ended = profiled(tmp_path / "work", *drawn)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (asked,) = (grid_engine / "asked").read_text().splitlines()
    assert "-N drawing" in asked
    assert "-pe smp 2 -l h_vmem=1500M -l h_rt=180 " in asked
    assert all((tmp_path / "work" / path).exists() for path in drawn)


def test_failed_job_of_grid_engine_is_told_and_tried_again(grid_engine: Path, tmp_path: Path) -> None:
    (grid_engine / "qsub").write_text((grid_engine / "qsub").read_text().replace('sh "$script"', "false"))
    target = str(heart.release_files(Path("results/phantom"), 6)["LGE"])
    failed = profiled(tmp_path / "work", target, "--retries", "1")
    assert failed.returncode == 1
    first, second = (grid_engine / "asked").read_text().splitlines()
    assert "h_vmem=1500M" in first
    assert "h_vmem=3000M" in second
