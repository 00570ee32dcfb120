from cardioseg.core import volumes
from cardioseg.inference import raw_labels
from support.job import job

with job(snakemake):
    members = [volumes.read(path) for path in snakemake.input.members]
    mean = volumes.Volume(raw_labels.mean_probabilities([member.array for member in members]), members[0].affine)
    labels = raw_labels.on_raw_grid(mean, volumes.read_image(snakemake.input.raw))
    volumes.write(snakemake.output.probabilities, mean.array, mean.affine)
    volumes.write_labels_like(snakemake.output.mask, labels, snakemake.params.structures, snakemake.input.raw)
