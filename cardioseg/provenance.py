"""What a result was made with: versions, and the time and memory that each step took."""

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pandas as pd

PACKAGES = [
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


def versions(source: Path | str) -> pd.DataFrame:
    """Columns component, version: the code in the folder `source` (its git commit), Python, system, packages."""
    rows = [
        ("code", _commit(Path(source))),
        ("Python", sys.version.split()[0]),
        ("system", platform.platform()),
        ("processor", _processor()),
    ]
    rows += [(name, _version(name)) for name in PACKAGES]
    return pd.DataFrame(rows, columns=["component", "version"])


def resources(folder: Path | str) -> pd.DataFrame:
    """Time and memory of every step, from Snakemake's benchmark files below a folder; the longest step first.

    A step is the name of a file or of a folder of files there. Columns: step, jobs, seconds (of all jobs together),
    longest_s, cpu_s, memory_mb (resident, of the largest job; NaN for jobs too short to be measured).
    """
    rows = []
    for path in sorted(Path(folder).rglob("*.tsv")):
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


def _commit(source: Path) -> str:
    """The commit of a folder under git, with -dirty where files differ from it."""
    command = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "not under git"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
