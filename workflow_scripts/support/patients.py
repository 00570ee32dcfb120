"""The patients of a job, one after another (see `support.batches`). What is up to date is not computed again."""

import hashlib
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cardioseg.core import checksums
from support.job import job, tell
from support.kept import KEPT, Kept


def each_patient(snakemake: Any, work: Callable[[Any], None]) -> None:
    """Do the work of a job patient by patient; `work` takes what Snakemake gives a script for one patient.

    Of several patients the results are kept, with a note of what they were made from. A patient whose results were made
    from the same is not computed again, also after the job was killed or failed. One who fails is named, and does not
    stop the others.
    """
    with job(snakemake):
        if not snakemake.params.get("patients"):
            work(snakemake)
            return
        contents: dict[str, str] = {}
        failed = []
        for given in snakemake.params.patients:
            one = SimpleNamespace(**{**vars(snakemake), **given})
            patient = one.wildcards.patient
            kept = Kept(KEPT.joinpath(snakemake.rule, *one.wildcards), _made_from(one, contents), one.output)
            if kept.restore():
                logging.info("patient %s: up to date", patient)
                continue
            logging.info("patient %s", patient)
            try:
                for path in map(Path, one.output):
                    path.unlink(missing_ok=True)
                    path.parent.mkdir(parents=True, exist_ok=True)
                work(one)
                kept.keep()
            except Exception as error:
                tell(error, one, f"patient {patient}: ")
                failed.append(patient)
        if failed:
            logging.error(
                "Error: %d of %d patients failed: %s. What was made of the others is kept.",
                len(failed),
                len(snakemake.params.patients),
                ", ".join(failed),
            )
            sys.exit(1)


def _made_from(one: Any, contents: dict[str, str]) -> str:
    """Identify what a patient's results depend on: names, the inputs' contents, parameters and with them the code.

    contents: the checksums that are known, to which those of this patient's inputs are added.
    """
    contents |= checksums.sha256(path for path in one.input if path not in contents)
    lengths = {name: None if isinstance(paths, str) else len(paths) for name, paths in one.input.items()}
    identity = [list(one.wildcards), lengths, [contents[path] for path in one.input], dict(one.params.items())]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()
