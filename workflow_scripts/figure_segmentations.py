import numpy as np

from cardioseg.core import volumes
from cardioseg.figures import segmentations, style
from support.job import job

with job(snakemake):
    structures = snakemake.params.structures
    images = {
        patient: volumes.read_image(path)
        for patient, path in zip(snakemake.params.patients, snakemake.input.images, strict=True)
    }
    patients: dict[str, tuple[volumes.Volume, dict[str, np.ndarray]]] = {
        patient: (image, {}) for patient, image in images.items()
    }
    for (patient, title), path in zip(snakemake.params.labels, snakemake.input.labels, strict=True):
        codes = snakemake.params.codes if title == "manual" else structures
        patients[patient][1][title] = volumes.read_labels(path, codes, images[patient]).array
    figure = segmentations.figure(patients, snakemake.params.titles, snakemake.params.reference, list(structures))
    style.save(figure, snakemake.output)
