"""Runs killed at random moments: as many kills as the environment's KILLS says."""

import os
import random
import shutil
from pathlib import Path

import pytest
from calls import artifacts
from kills import run_with_kills

KILLS = int(os.environ.get("KILLS", "3"))

pytestmark = pytest.mark.slow


def test_killed_runs_on_any_number_of_cores_end_with_the_bytes_of_an_uninterrupted_one(
    run: Path, tmp_path: Path
) -> None:
    draws, expected = random.Random(KILLS), artifacts(run)
    kills = runs = 0
    while kills < KILLS:
        runs += 1
        folder = tmp_path / f"run{runs}"
        met = run_with_kills(folder, KILLS - kills, draws, "--cores", "1" if runs % 2 else "4")
        print(*met, sep="\n")
        kills += len(met)
        made = artifacts(folder)
        assert sorted(made) == sorted(expected), met
        assert [path for path in expected if made[path] != expected[path]] == [], met
        shutil.rmtree(folder)
