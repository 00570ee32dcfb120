from cardioseg.core import volumes
from cardioseg.inference import postprocessing, raw_labels
from support.job import job

with job(snakemake):
    crf, morphology = snakemake.params.settings["crf"], snakemake.params.settings["morphology"]
    structures = list(snakemake.params.structures)
    probabilities, image = volumes.read(snakemake.input.probabilities), volumes.read(snakemake.input.image)
    raw = volumes.read_image(snakemake.input.raw)
    refined = postprocessing.dense_crf(image.array, probabilities.array, image.spacing, **crf)
    for parts, path in snakemake.output.items():
        array = probabilities.array if parts == "morphology" else refined
        labels = raw_labels.raw_labels(volumes.Volume(array, probabilities.affine), raw)
        if parts != "crf":
            labels = postprocessing.smooth_structures(labels, raw.spacing, morphology, structures)
        volumes.write_labels_like(path, labels, snakemake.params.structures, snakemake.input.raw)
