"""What a result was made with: code, versions, hardware, and the time and memory of every step."""

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import torch

PACKAGES = [
    "cardioseg",
    "itk-elastix",
    "matplotlib",
    "medpy",
    "monai",
    "nibabel",
    "numpy",
    "pandas",
    "pydensecrf2",
    "scipy",
    "SimpleITK",
    "snakemake",
    "torch",
]


def code(source: Path | str) -> dict[str, Any]:
    """Identify the code in a folder.

    Parameters
    ----------
    source : Path or str
        A folder.

    Returns
    -------
    dict
        `commit`, and `modified`: whether a file differs from that commit. Both are None where git does not know the
        folder.
    """
    try:
        commit = _git(source, "rev-parse", "HEAD")
        return {"commit": commit, "modified": bool(_git(source, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "modified": None}


def versions() -> dict[str, str]:
    """Return the versions of what results depend on.

    Returns
    -------
    dict of str to str
        Versions of the operating system, of Python and of packages, by name.
    """
    found = {"system": platform.platform(), "Python": platform.python_version()}
    return found | {name: _version(name) for name in PACKAGES} | {"torch": str(torch.__version__)}  # names the build


def installed() -> dict[str, str]:
    """Return the versions of all installed packages, including those that others depend on.

    Returns
    -------
    dict of str to str
        Versions by name, in alphabetical order.
    """
    found = {each.name: each.version for each in metadata.distributions()}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def hardware() -> dict[str, Any]:
    """Return what the machine is made of.

    Returns
    -------
    dict
        The `processor`, the number of `cores`, the memory in GB (`memory_gb`) and the names of the `gpus` that torch
        sees.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"processor": _processor(), "cores": os.cpu_count(), "memory_gb": round(memory / 1e9, 1), "gpus": gpus}


def resources(folder: Path, paths: Iterable[Path]) -> pd.DataFrame:
    """Sum up the time and memory of every step from Snakemake's benchmark files.

    Parameters
    ----------
    folder : Path
        The folder of the benchmark files. A step is a file in it or a folder of files.
    paths : iterable of Path
        The files in it that count.

    Returns
    -------
    DataFrame
        One row per step, the longest step first: `step`, `jobs`, `seconds` (of all jobs together), `longest_s`,
        `cpu_s`, `memory_mb` (resident memory of the largest job; NaN where all jobs were too short to be measured).
    """
    rows = []
    for path in paths:
        step = path.relative_to(folder).parts[0].removesuffix(".tsv")
        rows.append(pd.read_csv(path, sep="\t", na_values="-").assign(step=step))
    if not rows:
        return pd.DataFrame(columns=["step", "jobs", "seconds", "longest_s", "cpu_s", "memory_mb"])
    table = pd.concat(rows, ignore_index=True)
    return (
        table.groupby("step")
        .agg(
            jobs=("s", "size"),
            seconds=("s", "sum"),
            longest_s=("s", "max"),
            cpu_s=("cpu_time", "sum"),
            memory_mb=("max_rss", "max"),
        )
        .sort_values("seconds", ascending=False)
        .reset_index()
    )


def _git(source: Path | str, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(source), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
