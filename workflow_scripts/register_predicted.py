import logging

import numpy as np

from cardioseg.core import volumes
from cardioseg.core.errors import InputError
from cardioseg.inference import fusion
from support.job import job

with job(snakemake):
    structures = snakemake.params.structures
    target, source = volumes.read_image(snakemake.input.target), volumes.read_image(snakemake.input.source)
    labels = volumes.read_labels(snakemake.input.labels, structures, source)
    try:
        carried = fusion.carry(
            target,
            source,
            labels.array,
            snakemake.params.settings,
            snakemake.params.stage,
            snakemake.params.seed,
        ).array
    except InputError as error:
        # A network's labels may be of no use, which must not end the run: without any, the fusion is the ensemble.
        logging.warning("%s is not used: %s", snakemake.input.source, error)
        carried = np.zeros(target.array.shape, np.uint8)
    volumes.write_labels_like(snakemake.output[0], carried, structures, snakemake.input.target)
