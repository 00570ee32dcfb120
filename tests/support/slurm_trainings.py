"""Trainings that run as jobs of Slurm: to find them, to wait for them and to disturb them."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from slurm_cluster import Slurm


def training_job(slurm: Slurm, folder: Path, seed: int, snakemake: subprocess.Popen[bytes]) -> str:
    """The job of a seed's training, once it has reported progress."""
    wait_until(lambda: re.search(r"unet_pretrained: \d+/", log_of(folder, seed)), snakemake)
    return next(job["JobId"] for job in slurm.jobs(folder) if job["wildcards"] == str(seed))


def wait_until(condition: Callable[[], object], snakemake: subprocess.Popen[bytes]) -> None:
    """Wait for what a running Snakemake brings about."""
    while not condition():
        assert snakemake.poll() is None, "ended too early"
        time.sleep(0.2)


def log_of(folder: Path, seed: int) -> str:
    """What Slurm kept of a seed's training, all attempts."""
    files = sorted((folder / "results" / "logs" / "slurm" / "rule_pretrain_unet" / str(seed)).glob("*.log"))
    return "".join(file.read_text() for file in files)


def signal_training(slurm: Slurm, job: str, number: signal.Signals) -> None:
    """Send a signal to the process that trains in a job."""
    for process in slurm.processes(job):
        with contextlib.suppress(OSError):  # ended meanwhile
            if "train_segmentation" in (process / "cmdline").read_text():
                os.kill(int(process.name), number)
