"""Kills of the running tiny workflow at random moments, each followed by what a user types."""

import contextlib
import os
import random
import re
import signal
import subprocess
from pathlib import Path

import psutil

from calls import call

LONGEST_S = 20.0


def run_with_kills(folder: Path, kills: int, draws: random.Random, *arguments: str) -> list[str]:
    """Run the tiny workflow in a folder, killed so many times at most, and then to its end; what each kill met.

    A kill comes within 20 s of a start and takes Snakemake with all its jobs, Snakemake alone, or one job alone. The
    same command follows, after --unlock where Snakemake asks for it.
    """
    command = call(folder, *arguments)
    groups: list[int] = []
    met: list[str] = []
    try:
        while True:
            with (folder.parent / f"{folder.name}.log").open("w+") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
                groups.append(process.pid)
                killed = _kill(process, draws) if len(met) < kills else ""
                code = process.wait()
                log.seek(0)
                said = log.read()
            if killed:
                met.append(killed)
            elif code == 0:
                return met
            elif "--unlock" in said:
                subprocess.run([*command, "--unlock"], check=True, capture_output=True)
            else:
                raise AssertionError(said)
    finally:
        for group in groups:
            _kill_all(group)


def _kill(process: subprocess.Popen[bytes], draws: random.Random) -> str:
    """Kill after a random time; returns what, when and in which scripts, or nothing if the run ended before."""
    after, victim, one = draws.uniform(1, LONGEST_S), draws.choice(["all", "Snakemake", "a job"]), draws.random()
    try:
        process.wait(after)
        return ""
    except subprocess.TimeoutExpired:
        jobs = [(child, script) for child in psutil.Process(process.pid).children() if (script := _script(child))]
        if victim == "a job" and jobs:
            jobs = [jobs[int(one * len(jobs))]]
            jobs[0][0].kill()
        elif victim == "Snakemake":
            process.kill()
        else:
            _kill_all(process.pid)
        return f"{victim} after {after:.1f} s, in {' '.join(sorted(script for _, script in jobs)) or 'no job'}"


def _kill_all(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _script(process: psutil.Process) -> str:
    """The workflow's script that a process runs, if it runs one."""
    try:
        found = re.search(r"\.snakemake/scripts/\w+\.(\w+)\.py", " ".join(process.cmdline()))
    except psutil.NoSuchProcess:
        found = None
    return found.group(1) if found else ""
