from cardioseg.core import volumes
from cardioseg.evaluation import measures
from cardioseg.figures import style, worst
from support.job import job

with job(snakemake):
    structures, known = snakemake.params.structures, snakemake.params.patients
    metrics = measures.read(snakemake.input.metrics)
    scores = worst.worst_patients(metrics, snakemake.params.method, snakemake.params.worst)
    patients = {}
    for patient in scores.index:
        index = known.index(patient)
        image = volumes.read_image(snakemake.input.images[index])
        patients[patient] = (
            image,
            {
                "manual": volumes.read_labels(snakemake.input.labels[index], snakemake.params.codes, image).array,
                snakemake.params.title: volumes.read_labels(snakemake.input.masks[index], structures, image).array,
            },
        )
    style.save(worst.figure(patients, scores, list(structures)), snakemake.output)
