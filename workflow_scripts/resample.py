import logging

from cardioseg.core import volumes
from cardioseg.preprocessing import resampling
from support.job import job, naming

with job(snakemake):
    raw = volumes.read_image(snakemake.input[0])
    for note in raw.notes:
        logging.warning("%s: %s", snakemake.input[0], note)
    with naming(snakemake.input[0]):
        resampled = resampling.to_common_pixels(raw, snakemake.params.settings)
    volumes.write(snakemake.output[0], resampled.array, resampled.affine)
