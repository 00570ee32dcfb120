import matplotlib as mpl

from cardioseg import figures, volumes
from job import job

with job(snakemake):
    mpl.use("Agg")
    structures, titles = snakemake.params.structures, snakemake.params.titles
    truths, masks = iter(snakemake.input.get("labels", [])), iter(snakemake.input.masks)
    patients = {}
    for patient, path in zip(snakemake.params.patients, snakemake.input.images, strict=True):
        image = volumes.read_image(path)
        labels = {}
        if snakemake.input.get("labels"):
            labels["manual"] = volumes.read_labels(next(truths), structures, image).array
        for title in titles:
            labels[title] = volumes.read_labels(next(masks), structures, image).array
        patients[patient] = (image.array, labels)
    figures.segmentations(snakemake.output[0], patients, list(structures))
