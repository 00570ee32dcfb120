import csv
import logging
import os
from itertools import product
from pathlib import Path

from cardioseg.cohort import report
from support import raw_files
from support.job import job

with job(snakemake):
    entries = [
        report.Entry(modality, patient, Path(image), *(Path(path) if path else None for path in others))
        for modality, patient, image, *others in snakemake.params.volumes
    ]
    rows = report.rows(entries, snakemake.params.splits, snakemake.params.codes, snakemake.params.wall)
    # Below `data`, so that the table stays true when the data moves.
    data = snakemake.config["data"] or "."
    names = {path: os.path.relpath(raw_files.given(path), data) for path in snakemake.input.files}
    for row, key in product(rows, ("notes", "image")):
        for path, name in names.items():
            row[key] = str(row[key]).replace(path, name)
    for note in [*(row["notes"] for row in rows if row["notes"]), *snakemake.params.notes]:
        logging.warning("%s", note)
    with Path(snakemake.output[0]).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
