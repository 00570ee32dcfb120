import logging

from cardioseg.core import volumes
from cardioseg.inference import fusion
from support.job import job

with job(snakemake):
    probabilities, raw = volumes.read(snakemake.input.probabilities), volumes.read_image(snakemake.input.raw)
    witness = volumes.read_labels(snakemake.input.labels, snakemake.params.structures, raw)
    fused, agreement = fusion.fuse(probabilities, witness, snakemake.params.settings)
    least = snakemake.params.settings["least_agreement"]
    told = logging.warning if agreement < least else logging.info
    told("Dice between registered labels and networks: %.3f; labels count from %s on", agreement, least)
    volumes.write(snakemake.output[0], fused, probabilities.affine)
