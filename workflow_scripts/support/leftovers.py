"""Results of patients, seeds and methods that the configuration no longer has.

Snakemake's --delete-all-output removes what the configuration makes, and its --list-untracked names whatever else there
is, the user's own files among them. Neither tells what earlier configurations made.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from support import timings

SECONDS = 2  # file systems round times


@dataclass(frozen=True)
class Made:
    """What Snakemake knows of a file that it made: the time of the file, and the logs of the job."""

    time: float
    logs: Collection[str]


def find(records: Mapping[str, Made], wanted: Collection[str]) -> list[str]:
    """The files that were made and are not wanted any more, with the logs and timings of their jobs.

    records: by path, what Snakemake knows of each file that it made. wanted: all files that the configuration makes,
    logs and timings too. A file that was changed since is left out, see `changed`: it is the user's.
    """
    own = records.keys() - set(wanted) - set(changed(records, wanted))
    # A job may have done other patients, too, who stay.
    needed = {log for path, made in records.items() if path in wanted for log in made.logs}
    logs = {log for path in own for log in records[path].logs} - needed - set(wanted)
    timed = {timings.of_log(log) for log in logs} - set(wanted)
    return sorted([*own, *(path for path in logs | timed if Path(path).is_file())])


def changed(records: Mapping[str, Made], wanted: Collection[str]) -> list[str]:
    """The files that were made and are not wanted any more, but are later than they were made.

    They were changed since, or copied without their times. Arguments as of `find`.
    """
    return sorted(
        path
        for path, made in records.items()
        if path not in wanted and Path(path).stat().st_mtime > made.time + SECONDS
    )


def told(paths: Iterable[str]) -> str:
    """The files, but logs and timings, a line a folder."""
    results = [path for path in paths if Path(path).parts[1] not in ("logs", "benchmarks")]
    lines = [
        f"  {folder}: {', '.join(Path(path).name for path in group)}"
        for folder, group in groupby(results, key=lambda path: str(Path(path).parent))
    ]
    return "\n".join(lines)


def remove(paths: Iterable[str]) -> None:
    """Remove files, and the folders that they leave empty."""
    for path in map(Path, paths):
        path.unlink()
        for folder in path.parents[:-2]:
            if any(folder.iterdir()):
                break
            folder.rmdir()
