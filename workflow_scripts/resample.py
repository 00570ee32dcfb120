import logging

from cardioseg.core import volumes
from cardioseg.preprocessing import resampling
from support.job import job

with job(snakemake):
    raw = volumes.read_image(snakemake.input[0])
    for note in raw.notes:
        logging.warning("%s: %s", snakemake.input[0], note)
    resampled = resampling.resample(raw, snakemake.params.spacing_mm)
    volumes.write(snakemake.output[0], resampled.array, resampled.affine)
