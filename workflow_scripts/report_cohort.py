import csv
import logging
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
    for row in rows:
        row |= {key: raw_files.in_users_terms(str(row[key]), snakemake.input.files) for key in ("notes", "image")}
    for note in [*(row["notes"] for row in rows if row["notes"]), *snakemake.params.notes]:
        logging.warning("%s", note)
    with Path(snakemake.output[0]).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
