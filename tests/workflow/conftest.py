"""Finished runs of the workflow at its smallest size, made once for all tests. Tests that change one work on a copy."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from bad_input import name_the_patient
from calls import ROOT, call, snakemake, wait_for


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished tiny workflow on the phantom."""
    folder = tmp_path_factory.mktemp("run")
    finished = snakemake(folder)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return folder


@pytest.fixture(scope="session")
def raw_run(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw volumes in `data` and the workflow to the metrics; killed while it trained, and resumed."""
    folder = tmp_path_factory.mktemp("raw") / "work"
    shutil.copytree(run / "results" / "phantom", folder / "data")
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
    return folder


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A copy of the repository's code."""
    folder = tmp_path / "code"
    for name in ("Snakefile", "config.yaml", "profiles", "rules", "envs", "workflow_scripts", "cardioseg"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder
