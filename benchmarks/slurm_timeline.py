"""The tests' workflow on a real Slurm of one node beside the same run without Slurm: when each job waited and ran.

    python benchmarks/slurm_timeline.py docs/slurm_timeline.png

Needs root and the packages slurmctld, slurmd, slurm-client and munge. Prints the figures, draws the timeline.
"""

import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from statistics import median

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

import slurm_cluster
from slurm_cluster import ROOT, TINY, Slurm, command

STAGES = {
    "drawing": "#9aa5b1",
    "crop": "#9aa5b1",
    "train_localiser": "#8c6bb1",
    "train_translation": "#e6842a",
    "synthesise": "#e6842a",
    "pretrain": "#2b7bba",
    "finetune": "#2b7bba",
    "inference": "#3a9d5d",
    "metrics": "#c9b458",
}


def run_on_slurm(folder: Path) -> pd.DataFrame:
    """The jobs in the order of their submission: name, on_gpu, and submitted, started, ended in s since the first."""
    folder.mkdir(parents=True)
    with slurm_cluster.cluster(folder.parent / "node") as environment:
        slurm = Slurm(environment)
        ended = slurm.run(command(folder, "results/metrics.csv"))
        if ended.returncode:
            sys.exit(ended.stdout + ended.stderr)
        records = slurm.jobs(folder)
    times = {
        column: [datetime.fromisoformat(record[field]).timestamp() for record in records]
        for column, field in (("submitted", "SubmitTime"), ("started", "StartTime"), ("ended", "EndTime"))
    }
    jobs = pd.DataFrame(times) - min(times["submitted"])
    grouped = [record["rule"].startswith(("drawing", "cropping", "inference")) for record in records]
    jobs["name"] = [
        record["rule"].split("_")[0] + " (group)"
        if group
        else record["rule"] + (f" (seed {record['wildcards']})" if record["wildcards"] in {"1", "2"} else "")
        for record, group in zip(records, grouped, strict=True)
    ]
    jobs["grouped"] = grouped
    jobs["rule"] = [record["rule"] for record in records]
    jobs["on_gpu"] = ["TresPerJob" in record for record in records]
    return jobs


def run_locally(folder: Path) -> float:
    """Wall time in s of the same without Slurm."""
    folder.mkdir(parents=True)
    began = time.monotonic()
    call = [sys.executable, "-m", "snakemake", "results/metrics.csv", "--cores", str(os.cpu_count())]
    call += ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--configfile", str(TINY)]
    ended = subprocess.run(call, capture_output=True, text=True)
    if ended.returncode:
        sys.exit(ended.stdout + ended.stderr)
    return time.monotonic() - began


def seconds_of(rule: str, folder: Path) -> float:
    """Median time of a rule's jobs, from Snakemake's benchmarks."""
    phase, _, network = rule.partition("_")
    trained = f"segmentation/*/{network}_"
    names = {"pretrain": f"{trained}pretrained", "finetune": f"{trained}finetuned", "synthesise": "synthesise/*"}
    files = (folder / "results" / "benchmarks").glob(f"{names.get(phase, rule)}.tsv")
    return median(float(pd.read_csv(file, sep="\t")["s"].iloc[0]) for file in files)


def figure(jobs: pd.DataFrame) -> Figure:
    """Bars of the jobs' waiting and running, and below how many run at once."""
    drawn, (axis, below) = plt.subplots(
        2, 1, figsize=(9, 0.24 * len(jobs) + 2), sharex=True, height_ratios=[len(jobs), 5], layout="constrained"
    )
    waits, runs = jobs["started"] - jobs["submitted"], jobs["ended"] - jobs["started"]
    colours = [next(STAGES[stage] for stage in STAGES if rule.startswith(stage)) for rule in jobs["rule"]]
    axis.barh(jobs.index, waits, left=jobs["submitted"], color="#dddddd", height=0.7)
    axis.barh(jobs.index, runs, left=jobs["started"], color=colours, height=0.7)
    for index, job in jobs.iterrows():
        text = f"{runs[index]:.0f} s" + (", GPU" if job["on_gpu"] else "")
        axis.text(job["ended"] + 1, index, text, va="center", fontsize=7, color="#555555")
    axis.set_yticks(jobs.index, jobs["name"], fontsize=8)
    axis.invert_yaxis()
    axis.set_title("Jobs on one Slurm node; palest grey: waiting in the queue", fontsize=10)
    steps = pd.concat([pd.Series(1, jobs["started"]), pd.Series(-1, jobs["ended"])]).sort_index().cumsum()
    below.fill_between(steps.index, steps, step="post", color="#2b7bba", alpha=0.4)
    below.set_ylabel("jobs running")
    below.set_xlabel("seconds since the first job was sent")
    for each in (axis, below):
        each.spines[["top", "right"]].set_visible(False)
        each.grid(axis="x", alpha=0.3)
    axis.set_xlim(0, 1.08 * jobs["ended"].max())
    return drawn


def _main() -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        jobs = run_on_slurm(work / "slurm" / "work")
        local = run_locally(work / "local" / "work")
        single = jobs[~jobs["grouped"] & (jobs["rule"] != "metrics")]
        run = single["ended"] - single["started"]
        overheads = [
            seconds - seconds_of(rule, work / "slurm" / "work")
            for seconds, rule in zip(run, single["rule"], strict=True)
        ]
    running = [
        ((jobs["started"] <= moment) & (jobs["ended"] > moment)).sum() for moment in (*jobs["started"], *jobs["ended"])
    ]
    print(f"{len(jobs)} Slurm jobs, at most {max(running)} at once, {jobs['ended'].max():.0f} s from first to last")
    print(f"without Slurm: {local:.0f} s")
    print(f"start and end of a job around its step: median {median(overheads):.1f} s (Slurm counts whole seconds)")
    print(f"in the queue: median {(jobs['started'] - jobs['submitted']).median():.0f} s")
    figure(jobs).savefig(sys.argv[1], dpi=110)


if __name__ == "__main__":
    _main()
