"""Calls of the workflow at its smallest size."""

import hashlib
import os
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cardioseg.evaluation import methods

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "workflow" / "config.yaml"
METHODS = [method.name for method in methods.METHODS if not method.section]


def call(
    folder: Path,
    *arguments: str,
    data: Path | str | None = None,
    example: str = "",
    overlay: str = "",
    code: Path = ROOT,
) -> list[str]:
    """The command that runs the tiny workflow in a folder.

    data: raw cohort in place of the phantom. example: names of configurations in demo/, beneath the tiny one. overlay:
    YAML with the keys of the configuration to change. code: the repository's folder.
    """
    (folder.parent / "overlay.yaml").write_text(overlay)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(code / "Snakefile"), "--directory", str(folder)]
    command += ["--cores", str(min(4, os.cpu_count() or 1)), *arguments]
    command += [
        "--configfile",
        *(str(ROOT / "demo" / name) for name in example.split()),
        str(TINY),
        *([str(folder.parent / "overlay.yaml")] if overlay else []),
    ]
    return command + (["--config", f"data={data}"] if data else [])


def snakemake(folder: Path, *arguments: str, **options: Path | str | None) -> subprocess.CompletedProcess[str]:
    """Run the tiny workflow; arguments as those of `call`."""
    return subprocess.run(call(folder, *arguments, **options), capture_output=True, text=True, timeout=1800)


def planned(folder: Path, *arguments: str, **options: Path | str | None) -> Counter[str]:
    """The number of jobs by rule that a run would have; arguments as of `call`."""
    plan = snakemake(folder, *arguments, "--dry-run", "--quiet", "rules", **options)
    assert plan.returncode == 0, plan.stdout + plan.stderr
    counts = re.findall(r"^(\w+) +(\d+)$", plan.stdout + plan.stderr, re.MULTILINE)
    return Counter({rule: int(count) for rule, count in counts if rule not in ("all", "total")})


@dataclass(frozen=True)
class Job:
    """A job of a plan: its rule, what it reads and what it makes."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def jobs(folder: Path, *arguments: str, **options: Path | str | None) -> list[Job]:
    """Every job of a whole run, whatever is there; arguments as those of `call`."""
    plan = snakemake(folder, *arguments, "--dry-run", "--forceall", **options)
    assert plan.returncode == 0, plan.stdout + plan.stderr
    blocks = re.split(r"^ *(?:local)?rule (\w+):$", plan.stdout + plan.stderr, flags=re.MULTILINE)[1:]

    def listed(what: str, block: str) -> tuple[str, ...]:
        found = re.search(rf"^ +{what}: (.*)$", block, re.MULTILINE)
        return tuple(found[1].split(", ")) if found else ()

    return [
        Job(rule, listed("input", block), listed("output", block))
        for rule, block in zip(blocks[::2], blocks[1::2], strict=True)
    ]


def artifacts(folder: Path) -> dict[str, str]:
    """Checksums of all results by path, without logs and timings."""
    results = folder / "results"
    paths = [path.relative_to(results) for path in sorted(results.rglob("*")) if path.is_file()]
    return {
        str(path): hashlib.sha256((results / path).read_bytes()).hexdigest()
        for path in paths
        if path.parts[0] not in ("logs", "benchmarks") and path.name != "resources.csv"
    }


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a running process has made a path."""
    while not path.exists():
        assert process.poll() is None, "ended too early"
        time.sleep(0.02)
