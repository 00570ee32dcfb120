from cardioseg.core import volumes
from cardioseg.inference import postprocessing
from support.job import job

with job(snakemake):
    structures = snakemake.params.structures
    labels = postprocessing.postprocess(
        volumes.read(snakemake.input.probabilities),
        volumes.read(snakemake.input.image),
        volumes.read_image(snakemake.input.raw),
        postprocessing.Settings.of(snakemake.params.settings, list(structures)),
        snakemake.output.keys(),
    )
    for part, path in snakemake.output.items():
        volumes.write_labels_like(path, labels[part], structures, snakemake.input.raw)
