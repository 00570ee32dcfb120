import logging

from cardioseg.core import volumes
from cardioseg.inference import fusion, postprocessing
from support.job import job

with job(snakemake):
    given, params, structures = snakemake.input, snakemake.params, snakemake.params.structures
    probabilities, raw = volumes.read(given.probabilities), volumes.read_image(given.raw)
    witness = volumes.read_labels(given.labels, structures, raw)
    fused, agreement = fusion.fuse(probabilities, witness, params.fusion)
    least = params.fusion["least_agreement"]
    told = logging.warning if agreement < least else logging.info
    told("Dice between registered labels and networks: %.3f; labels count from %s on", agreement, least)
    volumes.write(snakemake.output.probabilities, fused, probabilities.affine)
    settings = postprocessing.Settings.of(params.postprocessing, list(structures))
    grid = volumes.Volume(fused, probabilities.affine)
    labels = postprocessing.postprocess(grid, volumes.read(given.image), raw, settings, ["both"])["both"]
    volumes.write_labels_like(snakemake.output.mask, labels, structures, given.raw)
