import matplotlib as mpl

from cardioseg import figures, volumes
from job import job

with job(snakemake):
    mpl.use("Agg")
    synthetic = [volumes.read(path).array for path in snakemake.input.synthetic]
    each = len(synthetic) // len(snakemake.params.patients)
    patients = {
        patient: (volumes.read(image).array, synthetic[each * index : each * (index + 1)], volumes.read(labels).array)
        for index, (patient, image, labels) in enumerate(
            zip(snakemake.params.patients, snakemake.input.images, snakemake.input.labels, strict=True)
        )
    }
    figures.translations(
        snakemake.output[0],
        patients,
        snakemake.params.source,
        snakemake.params.target,
        list(snakemake.params.structures),
    )
