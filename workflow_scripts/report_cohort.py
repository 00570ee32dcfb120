import csv
import json
import logging
from pathlib import Path

from cardioseg.cohort import plan
from cardioseg.core import volumes
from support.job import job

with job(snakemake):
    rows = []
    orientation = plan.check_orientation([Path(image) for _, _, image, _, _ in snakemake.params.volumes])
    for modality, patient, image, labels, location in snakemake.params.volumes:
        files = plan.Files(Path(image), Path(labels) if labels else None)
        notes = plan.check_volume(files, snakemake.params.structures, snakemake.params.wall)
        notes += [note for note in orientation if note.startswith(f"{image}: ")]
        volume = volumes.read_image(image)
        found = json.loads(Path(location).read_text())["found"] if location else None
        if found is False:
            notes.append("no structures found: the crop is centred on the image")
        splits = [split for split, patients in snakemake.params.splits[modality].items() if patient in patients]
        rows.append(
            {
                "modality": modality,
                "patient": patient,
                "splits": " ".join(splits),
                "slices": volume.array.shape[0],
                "matrix": "x".join(map(str, volume.array.shape[1:])),
                "spacing_mm": " ".join(f"{mm:.3f}" for mm in volume.spacing),
                "labels": "yes" if labels else "no",
                "located": {True: "yes", False: "no", None: "not needed"}[found],
                "notes": "; ".join(notes),
                "image": image,
            }
        )
        for note in notes:
            logging.warning("%s", note)
    for note in snakemake.params.notes:
        logging.warning("%s", note)
    with Path(snakemake.output[0]).open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
