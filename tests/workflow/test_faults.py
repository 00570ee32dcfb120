"""What befalls a run from outside: kills, a second one beside it, a full disk, a disk that is only to be read."""

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from calls import artifacts, call, planned, snakemake, wait_for
from cardioseg.phantoms import heart
from kills import run_with_kills

# How many kills there are, in as many runs as that takes.
KILLS = int(os.environ.get("KILLS", "3"))

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small disk in memory with some options, also again, and returns its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        again = ["-o", "remount"] if folder.is_mount() else []
        done = subprocess.run(
            ["mount", *again, "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"no disk can be mounted: {done.stderr.strip()}")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True)


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


def test_second_run_beside_a_first_is_refused_but_may_be_planned(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with (tmp_path / "log").open("w") as log:
        first = subprocess.Popen(call(folder), stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(folder / "results" / "phantom", first)
        second = snakemake(folder)
        assert second.returncode != 0
        assert "no other Snakemake process" in second.stdout + second.stderr
        assert planned(folder)["metrics"] == 1
        assert first.poll() is None
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()


def test_full_disk_is_told_and_room_mends_it(disk: Callable[[str], Path]) -> None:
    folder = disk("size=3m") / "work"
    target = str(heart.release_files(Path("results/phantom"), 6)["LGE"])
    full = snakemake(folder, target)
    said = full.stdout + full.stderr
    assert full.returncode != 0
    assert "No space left on device. Make room and run the same command again" in said
    assert "Traceback" not in said
    drawn = heart.release_files(folder / "results" / "phantom", 6).values()
    assert not any(path.exists() for path in drawn)
    disk("size=50m")
    mended = snakemake(folder, target)
    assert mended.returncode == 0, mended.stdout + mended.stderr


def test_disk_that_is_only_to_be_read_is_told_before_any_job(disk: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "results").symlink_to(disk("ro"))
    refused = snakemake(tmp_path / "work")
    said = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert "results: cannot be written to" in said
    assert "rule phantom" not in said
    assert planned(tmp_path / "work")["metrics"] == 1
