from cardioseg.core import volumes
from cardioseg.figures import style, translations
from support.job import job

with job(snakemake):
    synthetic = [volumes.read(path).array for path in snakemake.input.synthetic]
    each = len(synthetic) // len(snakemake.params.patients)
    patients = {
        patient: (volumes.read(image), synthetic[each * index : each * (index + 1)], volumes.read(labels).array)
        for index, (patient, image, labels) in enumerate(
            zip(snakemake.params.patients, snakemake.input.images, snakemake.input.labels, strict=True)
        )
    }
    source, target = snakemake.params.source, snakemake.params.target
    style.save(translations.figure(patients, source, target, list(snakemake.params.structures)), snakemake.output)
