"""How the workflow uses Slurm's executor: how often it asks for states, and which failures are sent again.

By itself the executor asks ever more rarely, and sends every failed job again with more memory, its own errors too.
"""

import importlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

EXECUTOR = "snakemake_executor_plugin_slurm"
# A job is asked for at intervals of this share of its age, up to so many seconds.
SHARE, LONGEST_S = 0.1, 60.0
# What training_loop and support/job.py log.
STOPPED = re.compile(r"(\S+): stopped at iteration (\d+), its state saved")
PROGRESS = re.compile(r"^\d\d:\d\d:\d\d (\S+): (\d+)/\d+ ", re.MULTILINE)
ERROR = re.compile(r"^\d\d:\d\d:\d\d (?:Error: |\w+ failed$)", re.MULTILINE)
# What Slurm writes when it sends a signal ahead of the end: of a job's time, or of the grace of one that is preempted.
WARNED = re.compile(r"\*\*\* STEP \S+ ON \S+ CANCELLED AT \S+ \*\*\*")
# In the words of support/job.py, of Slurm's accounting and of the kernel.
NO_MEMORY = re.compile(r"memory does not suffice|exceeded memory limit|oom.kill", re.IGNORECASE)
# A partition, account or node that Slurm does not have; a controller that does not answer is asked again.
REFUSED = re.compile(
    r"sbatch failed.*?submission failed: (Invalid [^'\n]*|Requested node configuration [^'\n]*)", re.DOTALL
)

Query = Callable[..., Awaitable[tuple[dict[str, str] | None, float | None]]]


def adapt(executor: Any) -> None:
    """Change Slurm's executor in place; another one stays as it is."""
    if type(executor).__module__ == EXECUTOR:
        plugin: Any = importlib.import_module(EXECUTOR)
        plugin.query_job_status = _without_names(plugin.query_job_status)
        # Ended jobs are forgotten after `kept` seconds.
        kept = plugin.get_min_job_age()
        _ask_young_jobs_often(executor, LONGEST_S if kept is None else min(LONGEST_S, kept / 2))
        _send_again_what_helps(executor)
        executor._failed_nodes = NodeNames(executor._failed_nodes)


class NodeNames(set[str]):
    """Nodes to avoid. If a job waits to run again after a node's failure, sacct says "None assigned" instead of one."""

    def add(self, name: str) -> None:
        if " " not in name:
            super().add(name)


def interval(age_s: float, shortest_s: float, longest_s: float = LONGEST_S) -> float:
    """Return the time until states are asked for again, by the age of the youngest job."""
    return max(shortest_s, min(SHARE * age_s, longest_s))


def goes_on(state: str, log: str) -> tuple[str, int] | None:
    """Return the training and the iteration at which it stopped, if all that a job lacked was time on its node.

    state: Slurm's. log: all that the job wrote. A job that Slurm stopped before it told of progress has no name, and
    stopped at 0.
    """
    if state not in ("FAILED", "TIMEOUT", "NODE_FAIL"):
        return None
    stopped, warned = _last(STOPPED, log), _last(WARNED, log)
    # The signal may also meet a job that does not heed it, or a training that writes its result.
    if warned and (not stopped or warned.start() > stopped.start()):
        stopped = _last(PROGRESS, log[: warned.start()])
    if not stopped and not warned:
        return None
    after = log[stopped.end() if stopped else 0 :]
    if ERROR.search(after) or NO_MEMORY.search(after):
        return None
    return (stopped[1], int(stopped[2])) if stopped else ("", 0)


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return max(pattern.finditer(text), key=re.Match.start, default=None)


def is_error(state: str, log: str) -> bool:
    """Return whether a job failed by an error of its own, which another attempt would meet again."""
    return state == "FAILED" and bool(ERROR.search(log)) and not NO_MEMORY.search(log)


def _without_names(query: Query) -> Query:
    """Change a query for states: sacct says by whom a job was cancelled, which the executor does not expect."""

    async def query_job_status(*arguments: Any) -> tuple[dict[str, str] | None, float | None]:
        states, seconds = await query(*arguments)
        return states and {job: state.partition(" ")[0] for job, state in states.items()}, seconds

    return query_job_status


def _ask_young_jobs_often(executor: Any, longest_s: float) -> None:
    check = executor.check_active_jobs
    shortest = float(executor.workflow.executor_settings.init_seconds_before_status_checks or 1)
    first_seen: dict[str, float] = {}

    async def check_active_jobs(active_jobs: list[Any]) -> AsyncIterator[Any]:
        now = time.monotonic()
        for job in active_jobs:
            first_seen.setdefault(job.external_jobid, now)
        async for job in check(active_jobs):
            yield job
        youngest = max((first_seen[job.external_jobid] for job in active_jobs), default=now)
        executor.next_seconds_between_status_checks = interval(now - youngest, shortest, longest_s)

    executor.check_active_jobs = check_active_jobs


def _send_again_what_helps(executor: Any) -> None:
    report = executor.report_job_error
    last: dict[Any, tuple[str, int]] = {}

    def report_job_error(job_info: Any, msg: str | None = None, **about: Any) -> None:
        job, log = job_info.job, _log(job_info)
        found = re.search(r"SLURM status is: '(\w+)'", msg or "")
        state = found[1] if found else ""
        stopped = goes_on(state, log)
        if stopped and stopped != last.get(job):  # it has come further
            last[job] = stopped
            training, iteration = stopped
            where = f" ({training}) had to stop at iteration {iteration}" if training else " had to stop"
            executor.logger.info(f"Job {job.jobid}{where}, out of time or preempted; it goes on in a new one.")
            executor.run_job(job)
            return
        if is_error(state, log):
            job.attempt = job.restart_times + 1  # the last
            executor.logger.error(f"Job {job.jobid} reported an error of its own, and is not sent again.")
        if refused := REFUSED.search(msg or ""):
            job.attempt = job.restart_times + 1
            executor.logger.error(f"Slurm refuses job {job.jobid} ({refused[1]}), and it is not sent again.")
        report(job_info, msg=msg, **about)

    executor.report_job_error = report_job_error


def _log(job_info: Any) -> str:
    try:
        return Path(job_info.aux["slurm_logfile"]).read_text(encoding="utf-8", errors="replace")
    except (OSError, KeyError, TypeError):
        return ""
