"""The recipes of container images hold what the workflow needs; nothing here builds them, and no engine runs them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKER = (ROOT / "envs" / "Dockerfile").read_text()
APPTAINER = (ROOT / "envs" / "apptainer.def").read_text()

# Notes how it is called, and does without an image what it is asked to.
ENGINE = """#!/bin/sh
[ "$1" = --version ] && echo "apptainer version 1.3.4" && exit
echo "$@" >> {folder}/calls
for command; do :; done
exec bash -c "$command"
"""


def copied() -> set[str]:
    """Files and folders that the Dockerfile copies."""
    return {name for line in re.findall(r"^COPY (.*) \S+$", DOCKER, re.MULTILINE) for name in line.split()}


def test_both_recipes_hold_the_same() -> None:
    assert dict(re.findall(r"^    (\S+) /opt/cardioseg/(\S+)$", APPTAINER, re.MULTILINE)) == {
        name: name for name in copied()
    }
    for step in (r"make .venv/.ready", r"apt-get install [\w+ -]*\w", r"From:? (\S+)$"):
        found = [re.findall(step, text, re.MULTILINE | re.IGNORECASE) for text in (DOCKER, APPTAINER)]
        assert found[0] == found[1] != []


def test_docker_is_sent_what_it_copies_and_no_more() -> None:
    first, *kept = (ROOT / ".dockerignore").read_text().split()
    assert first == "*"
    assert {name.removeprefix("!") for name in kept} == copied()


def test_python_is_that_of_the_lock() -> None:
    version = re.search(r"pip-compile with Python (\S+)", (ROOT / "requirements.lock").read_text())
    assert version
    assert f"FROM python:{version[1]}-" in DOCKER


@pytest.mark.slow
def test_workflow_is_planned_with_what_an_image_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "image"
    for name in copied():
        source, target = ROOT / name, image / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            image.mkdir(exist_ok=True)
            shutil.copy(source, target)
    monkeypatch.setenv("PYTHONPATH", str(image))
    (tmp_path / "work").mkdir()
    plan = [sys.executable, "-m", "snakemake", "--snakefile", str(image / "Snakefile"), "--dry-run", "--cores", "1"]
    planned = subprocess.run(plan, cwd=tmp_path / "work", capture_output=True, text=True, timeout=600)
    assert planned.returncode == 0, planned.stderr
    assert "provenance" in planned.stdout


@pytest.mark.slow
def test_apptainer_runs_a_step_in_the_configured_image_with_this_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "work").mkdir()
    engine = tmp_path / "bin" / "apptainer"
    engine.write_text(ENGINE.format(folder=tmp_path))
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{engine.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    image, drawn = "/images/cardioseg.sif", "results/phantom/C0LET2_nii45_for_challenge19/c0t2lge/patient6_LGE.nii.gz"
    run = [sys.executable, "-m", "snakemake", drawn, "--snakefile", str(ROOT / "Snakefile")]
    run += ["--directory", str(tmp_path / "work"), "--cores", "1", "--sdm", "apptainer"]
    run += ["--config", f"compute={{container: {image}}}"]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert call.startswith("exec --home ")
    assert f" {image} bash -c " in call
    # The library, found before the image's own, and what scripts share.
    for folder in (ROOT, ROOT / "workflow_scripts"):
        assert f"--bind {folder}:/mnt/snakemake_searchpaths/" in call
