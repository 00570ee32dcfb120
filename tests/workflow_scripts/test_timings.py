"""Timings that count are those of the jobs that made what there is."""

import json
from pathlib import Path

import pytest

from support import timings

FOLDER = Path("results/benchmarks")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("predict/1..6.tsv", "predict/1.tsv", "predict/6.tsv", "metrics.tsv"):
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def record(name: str, *logs: str) -> None:
    """What Snakemake keeps of a file: it cuts long names into folders."""
    path = timings.RECORDS / "@cut" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"rule": "predict", "log": [f"results/logs/{log}" for log in logs]}))


def counted() -> list[str]:
    return [str(path.relative_to(FOLDER)) for path in timings.counted(FOLDER)]


def test_a_job_counts_while_one_of_its_files_is_its_own() -> None:
    record("masks of 1", "predict/1.log")
    record("masks of 6", "predict/1..6.log")
    record("metrics", "metrics.log")
    assert counted() == ["metrics.tsv", "predict/1..6.tsv", "predict/1.tsv"]
    record("masks of 6", "predict/6.log")
    assert counted() == ["metrics.tsv", "predict/1.tsv", "predict/6.tsv"]


def test_a_record_that_was_cut_off_or_names_no_log_does_no_harm() -> None:
    record("metrics", "metrics.log")
    (timings.RECORDS / "cut off").write_text('{"rule": ')
    (timings.RECORDS / "without").write_text('{"log": null}')
    assert counted() == ["metrics.tsv"]


def test_without_records_all_timings_count() -> None:
    assert len(counted()) == 4
