"""Keep what the steps of a finished run took, for the page's cost of a recipe.

    python benchmarks/cost.py NAME RESULTS

reads provenance.json and provenance/resources.csv in the folder RESULTS, and writes a file into
benchmarks/measurements/runs/. `python benchmarks/results.py` makes the page of it. NAME says which recipe and data.
"""

import csv
import json
import sys
from pathlib import Path

from measure import FOLDER, file_name

RUNS = FOLDER / "runs"


def main() -> None:
    """Write the run's file."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    about = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    with (folder / "provenance" / "resources.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            {
                "step": row["step"],
                "jobs": int(row["jobs"]),
                "seconds": float(row["seconds"]),
                "cpu_s": float(row["cpu_s"]),
            }
            for row in csv.DictReader(file)
        ]
    RUNS.mkdir(parents=True, exist_ok=True)
    content = {"name": name, "processor": about["hardware"]["processor"], "steps": rows}
    (RUNS / f"{file_name(name)}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
