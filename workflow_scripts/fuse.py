import logging
from typing import Any

from cardioseg.core import volumes
from cardioseg.inference import fusion, postprocessing
from support.patients import each_patient


def fuse(snakemake: Any) -> None:
    given, params, structures = snakemake.input, snakemake.params, snakemake.params.structures
    probabilities, raw = volumes.read(given.probabilities), volumes.read_image(given.raw)
    witness = volumes.read_labels(given.labels, structures, raw)
    fused = fusion.fuse(probabilities, witness, params.fusion)
    logging.info("Dice between registered labels and networks: %.3f", fused.agreement)
    if not fused.used:
        logging.warning("the registered labels agree too little with the networks, and are left out")
    grid = volumes.Volume(fused.probabilities, probabilities.affine)
    volumes.write(snakemake.output.probabilities, grid.array, grid.affine)
    settings = postprocessing.Settings.of(params.postprocessing, list(structures))
    labels = postprocessing.postprocess(grid, volumes.read(given.image), raw, settings, ["both"])["both"]
    volumes.write_labels_like(snakemake.output.mask, labels, structures, given.raw)


each_patient(snakemake, fuse)
