"""Which failures of Slurm jobs are sent again, and how often states are asked for; real Slurm: tests/workflow."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import snakemake_executor_plugin_slurm as plugin

from support import slurm

SAVED = "10:00:00 munit: stopped at iteration 40, its state saved; the same command continues from there\n"
KILLED = "slurmstepd: error: *** STEP 7.0 ON node CANCELLED AT 2020-01-01T10:00:00 DUE TO TIME LIMIT ***\n"
WARNED = "slurmstepd-three: error: *** STEP 7.0 ON three CANCELLED AT 2020-01-01T10:00:00 ***\n"
LAST = "10:00:00 munit: 120/120  loss 0.3  3.07 it/s, 0:00:00 left\n"
ERROR = "10:01:00 Error: data/a.nii.gz: voxels cannot be read\n"
CRASH = "10:01:00 train_translation failed\nTraceback (most recent call last):\n"
SHORT_OF_MEMORY = "10:01:00 Error: train_translation: the memory does not suffice (Unable to allocate 1 TB)\n"


@dataclass
class Job:
    attempt: int = 1
    restart_times: int = 3
    jobid: int = 5

    __hash__ = object.__hash__


class Executor:
    """As much of the plugin's as is used."""

    workflow = SimpleNamespace(executor_settings=SimpleNamespace(init_seconds_before_status_checks=2))
    logger = logging.getLogger("executor")

    def __init__(self) -> None:
        self.sent: list[Job] = []
        self.errors: list[str] = []
        self._failed_nodes = {"one"}
        self.next_seconds_between_status_checks = 0.0

    def run_job(self, job: Job) -> None:
        self.sent.append(job)

    def report_job_error(self, job_info: Any, msg: str | None = None, **about: Any) -> None:
        self.errors.append(msg or "")

    async def check_active_jobs(self, active_jobs: list[Any]) -> Any:
        for job in active_jobs:
            yield job


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Executor:
    monkeypatch.setattr(Executor, "__module__", slurm.EXECUTOR)
    monkeypatch.setattr(plugin, "query_job_status", plugin.query_job_status)
    monkeypatch.setattr(plugin, "get_min_job_age", lambda: 300)
    made = Executor()
    slurm.adapt(made)
    return made


def fail(executor: Executor, job: Job, state: str, log: Path, text: str) -> None:
    log.write_text(text)
    about = SimpleNamespace(job=job, aux={"slurm_logfile": log})
    executor.report_job_error(about, msg=f"SLURM-job '7' failed, SLURM status is: '{state}'.", aux_logs=[str(log)])


@pytest.mark.parametrize("state", ["TIMEOUT", "FAILED", "NODE_FAIL"])
def test_training_that_has_saved_its_state_goes_on_without_an_error_or_an_attempt(
    executor: Executor, tmp_path: Path, state: str
) -> None:
    job = Job()
    fail(executor, job, state, tmp_path / "log", SAVED + KILLED)
    assert (executor.sent, executor.errors, job.attempt) == ([job], [], 1)


def test_signal_ahead_of_the_time_limit_while_a_result_is_written_is_no_error(
    executor: Executor, tmp_path: Path
) -> None:
    job = Job()
    fail(executor, job, "FAILED", tmp_path / "log", LAST + WARNED)
    assert (executor.sent, executor.errors, job.attempt) == ([job], [], 1)
    fail(executor, job, "FAILED", tmp_path / "log", LAST + WARNED)
    assert (len(executor.sent), len(executor.errors)) == (1, 1)


def test_job_that_is_preempted_before_it_tells_of_progress_is_sent_again_once(
    executor: Executor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    job = Job()
    fail(executor, job, "FAILED", tmp_path / "log", WARNED)
    assert (executor.sent, executor.errors, job.attempt) == ([job], [], 1)
    assert "Job 5 had to stop, out of time or preempted; it goes on in a new one." in caplog.text
    fail(executor, job, "FAILED", tmp_path / "log", WARNED)
    assert (len(executor.sent), len(executor.errors)) == (1, 1)


def test_training_that_comes_no_further_is_an_error(executor: Executor, tmp_path: Path) -> None:
    job = Job()
    fail(executor, job, "TIMEOUT", tmp_path / "log", SAVED)
    fail(executor, job, "TIMEOUT", tmp_path / "log", SAVED.replace("40", "80"))
    fail(executor, job, "TIMEOUT", tmp_path / "log", SAVED.replace("40", "80"))
    assert (len(executor.sent), len(executor.errors), job.attempt) == (2, 1, 1)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("CANCELLED", SAVED),
        ("TIMEOUT", KILLED),
        ("FAILED", SAVED + SHORT_OF_MEMORY),
        ("OUT_OF_MEMORY", ""),
        ("FAILED", LAST),
        ("FAILED", SHORT_OF_MEMORY + WARNED),
        ("TIMEOUT", "10:00:00 munit: 4/120  loss 0.3  3 it/s, 0:00:40 left\n" + KILLED),
    ],
)
def test_other_faults_of_the_cluster_are_left_to_the_attempts(
    executor: Executor, tmp_path: Path, state: str, text: str
) -> None:
    job = Job()
    fail(executor, job, state, tmp_path / "log", text)
    assert (executor.sent, len(executor.errors), job.attempt) == ([], 1, 1)


@pytest.mark.parametrize("text", [ERROR, CRASH, SAVED + ERROR, LAST + WARNED + ERROR, ERROR + WARNED])
def test_error_of_a_step_is_its_last_attempt(
    executor: Executor, tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    job = Job()
    fail(executor, job, "FAILED", tmp_path / "log", text)
    assert job.attempt > job.restart_times
    assert "not sent again" in caplog.text
    assert (executor.sent, len(executor.errors)) == ([], 1)


def test_only_names_of_nodes_are_excluded_after_a_failure(executor: Executor) -> None:
    for name in ("two", "None assigned"):
        executor._failed_nodes.add(name)
    assert executor._failed_nodes == {"one", "two"}


def test_lost_log_is_left_to_the_attempts(executor: Executor, tmp_path: Path) -> None:
    job = Job()
    about = SimpleNamespace(job=job, aux={"slurm_logfile": tmp_path / "none"})
    executor.report_job_error(about, msg="SLURM status is: 'FAILED'")
    assert (executor.sent, len(executor.errors), job.attempt) == ([], 1, 1)


def test_young_jobs_are_asked_for_often_and_old_ones_once_a_minute() -> None:
    assert [slurm.interval(age, 10) for age in (0, 90, 300, 7200)] == [10, 10, 30, 60]
    assert slurm.interval(7200, 120) == 120
    assert slurm.interval(7200, 10, 15) == 15


def test_user_who_cancelled_a_job_is_no_part_of_its_state() -> None:
    async def query(command: str, logger: Any) -> tuple[dict[str, str] | None, float | None]:
        return ({"1": "CANCELLED by 1000", "2": "RUNNING"}, 0.1) if command == "sacct" else (None, None)

    asked = slurm._without_names(query)
    assert asyncio.run(asked("sacct", None)) == ({"1": "CANCELLED", "2": "RUNNING"}, 0.1)
    assert asyncio.run(asked("hangs", None)) == (None, None)


def test_states_are_asked_for_by_the_age_of_the_youngest_job(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1000.0, 1100.0])
    monkeypatch.setattr(slurm, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    old, young = SimpleNamespace(external_jobid="1"), SimpleNamespace(external_jobid="2")

    async def ask(*jobs: Any) -> list[Any]:
        return [job async for job in executor.check_active_jobs(list(jobs))]

    waits = []
    for jobs in ([old], [old, young], [old, young]):
        assert asyncio.run(ask(*jobs)) == jobs
        waits.append(executor.next_seconds_between_status_checks)
    assert waits == [2, 2, 10]


def test_another_executor_stays_as_it_is() -> None:
    other = Executor()
    before = vars(other).copy()
    slurm.adapt(other)
    assert vars(other) == before


@pytest.mark.parametrize(
    ("reason", "final"),
    [
        ("Batch job submission failed: Invalid partition name specified", True),
        ("Batch job submission failed: Requested node configuration is not available", True),
        ("Batch job submission failed: Socket timed out on send/recv operation", False),
    ],
)
def test_what_slurm_refuses_is_not_sent_again(
    executor: Executor, caplog: pytest.LogCaptureFixture, reason: str, final: bool
) -> None:
    job = Job()
    message = f"SLURM sbatch failed. The error message was 'sbatch: error: {reason}'.\n    sbatch call:\n"
    executor.report_job_error(SimpleNamespace(job=job, aux={}), msg=message)
    assert executor.errors == [message]
    assert (job.attempt > job.restart_times) == final
    assert (f"({reason.split(': ')[1]})" in caplog.text) == final
