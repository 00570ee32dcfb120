"""The timings of jobs, of which some tell of results that other jobs have made anew since."""

import json
from contextlib import suppress
from pathlib import Path

# Snakemake's records, one a file that it has made. A script sees them only here.
RECORDS = Path(".snakemake/metadata")


def of_log(log: str) -> str:
    """The file with the timing of the job that has this log."""
    return log.replace("/logs/", "/benchmarks/", 1).removesuffix(".log") + ".tsv"


def counted(folder: Path) -> list[Path]:
    """The timings in a folder of those jobs that made some file last, by Snakemake's records; without these, all.

    The jobs of a step are others, and so are their timings' names, once they do another number of patients.
    """
    logs: set[str] = set()
    for path in RECORDS.rglob("*"):
        if path.is_file():
            with suppress(ValueError):  # Snakemake was killed while it wrote
                logs.update(json.loads(path.read_text("utf-8")).get("log") or [])
    timings = {of_log(log) for log in logs}
    return sorted(path for path in folder.rglob("*.tsv") if not timings or str(path) in timings)
