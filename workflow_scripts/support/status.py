"""How far a run of the workflow is: python status.py [FOLDER], or a line a minute from within."""

import contextlib
import re
import sys
import threading
from datetime import datetime
from pathlib import Path

EVERY_S = 60.0
# Snakemake's log.
STEPS = re.compile(r"^(\d+) of (\d+) steps \(", re.MULTILINE)
TOTAL = re.compile(r"^total +(\d+)$", re.MULTILINE)
DRY_RUN = "This was a dry-run"
FINISHED = re.compile(r"Finished jobid: (\d+)")
JOB = re.compile(r"\s+jobid: (\d+)")
# A training's own log, see training_loop.
PROGRESS = re.compile(r"^\S+ \S+: (\d+)/(\d+) .*it/s, (.+) left$", re.MULTILINE)


def report(folder: Path) -> list[str]:
    """Return how many steps are done, at work and to come in the last run in a folder, then a line for each training.

    Steps that wait in a cluster's queue count as being at work.
    """
    log = _log(folder)
    if not log:
        return [f"No run in {folder.absolute()}: name the folder that holds its results/."]
    text = log.read_text(encoding="utf-8", errors="replace")
    steps = STEPS.findall(text)
    done, total = map(int, steps[-1]) if steps else (0, int(TOTAL.findall(text)[-1]))
    working = len(_working(text))
    first = f"{done} of {total} steps done, {working} at work, {max(0, total - done - working)} to come"
    return [first, *_trainings(folder, since=_began(log))]


def keep_telling(folder: Path) -> threading.Event:
    """Print the report once a minute, in one line, until this process ends or the returned event is set."""

    def tell() -> None:
        while not over.wait(EVERY_S):
            with contextlib.suppress(OSError, ValueError):  # the log is gone, or the terminal is closed
                print("; ".join(report(folder)), file=sys.stderr, flush=True)

    over = threading.Event()
    threading.Thread(target=tell, daemon=True).start()
    return over


def _log(folder: Path) -> Path | None:
    """Return the log of the last run that was no dry run."""
    for path in sorted((folder / ".snakemake" / "log").glob("*.log"), reverse=True):
        text = path.read_text(encoding="utf-8", errors="replace")
        if TOTAL.search(text) and DRY_RUN not in text:
            return path
    return None


def _began(log: Path) -> float:
    """Return when a run began, which its log is named by."""
    return datetime.strptime(log.name.partition(".")[0], "%Y-%m-%dT%H%M%S").timestamp()


def _working(text: str) -> set[str]:
    """Return the jobs that were started and have neither ended nor failed."""
    jobs: set[str] = set()
    failed = False
    for line in text.splitlines():
        if line and not line.startswith(" "):
            failed = line.startswith("Error in ")
        if found := FINISHED.match(line):
            jobs.discard(found[1])
        elif found := JOB.match(line):
            (jobs.discard if failed else jobs.add)(found[1])
    return jobs


def _trainings(folder: Path, since: float) -> list[str]:
    logs = folder / "results" / "logs"
    told = []
    for path in sorted(logs.rglob("*.log")):
        name = path.relative_to(logs).with_suffix("")
        if name.parts[0] == "slurm" or path.stat().st_mtime < since:
            continue
        found = PROGRESS.findall(path.read_text(encoding="utf-8", errors="replace"))
        if found and found[-1][0] != found[-1][1]:
            told.append(f"{name} {found[-1][0]}/{found[-1][1]}, {found[-1][2]} left")
    return told


if __name__ == "__main__":
    print(*report(Path(sys.argv[1] if sys.argv[1:] else ".")), sep="\n")
