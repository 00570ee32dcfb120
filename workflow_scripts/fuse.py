from cardioseg.core import volumes
from cardioseg.inference import fusion
from support.job import job

with job(snakemake):
    probabilities, raw = volumes.read(snakemake.input.probabilities), volumes.read_image(snakemake.input.raw)
    witness = volumes.read_labels(snakemake.input.labels, snakemake.params.structures, raw)
    fused = fusion.fuse(probabilities, witness, snakemake.params.settings)
    volumes.write(snakemake.output[0], fused, probabilities.affine)
