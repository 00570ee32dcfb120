"""Finished runs of the workflow at its smallest size, made once for all tests.

Several workers (pytest-xdist) read them at once: a test that changes one, or calls Snakemake in it, works on a copy.
"""

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bad_input import name_the_patient
from calls import ROOT, call, snakemake, wait_for

MadeOnce = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Gives the folder of a name, which the first worker that asks makes; the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name: str, make: Callable[[Path], None]) -> Path:
        folder, whole = base / name / "work", base / name / "whole"
        folder.parent.mkdir(exist_ok=True)
        with (folder.parent / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole.exists():
                assert not folder.exists(), f"{name} failed in another worker"
                make(folder)
                whole.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def run(made_once: MadeOnce) -> Path:
    """A folder with the finished tiny workflow on the phantom."""

    def make(folder: Path) -> None:
        finished = snakemake(folder)
        assert finished.returncode == 0, finished.stdout + finished.stderr

    return made_once("run", make)


@pytest.fixture(scope="session")
def raw_run(run: Path, made_once: MadeOnce) -> Path:
    """A folder with raw volumes in `data` and the workflow to the metrics; killed while it trained, and resumed."""
    return made_once("raw_run", lambda folder: resume_killed(folder, run / "results" / "phantom"))


def resume_killed(folder: Path, data: Path) -> None:
    """Run the workflow on a copy of raw volumes, kill it while it trains, and resume it."""
    shutil.copytree(data, folder / "data")
    for path in (folder / "data").rglob("*.nii.gz"):
        name_the_patient(path)
    with (folder.parent / "log").open("w") as log:
        killed = subprocess.Popen(
            call(folder, "results/metrics.csv", data="data"), stdout=log, stderr=log, start_new_session=True
        )
        wait_for(folder / "results" / ".state" / "translation", killed)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    assert not (folder / "results" / "metrics.csv").exists()
    assert snakemake(folder, "--unlock", data="data").returncode == 0
    finished = snakemake(folder, "results/metrics.csv", data="data")
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A copy of the repository's code."""
    folder = tmp_path / "code"
    for name in ("Snakefile", "config.yaml", "profiles", "rules", "envs", "workflow_scripts", "cardioseg"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder
