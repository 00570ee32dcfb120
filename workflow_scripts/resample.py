import logging

from cardioseg.cohort.orientation import AS_STORED, Turn
from cardioseg.core import volumes
from cardioseg.preprocessing import resampling
from support.job import job, naming

with job(snakemake):
    raw, turn = volumes.read_image(snakemake.input[0]), Turn(*snakemake.params.turn)
    for note in raw.notes:
        logging.warning("%s: %s", snakemake.input[0], note)
    if turn != AS_STORED:
        logging.info("%s: %s", snakemake.input[0], turn)
    with naming(snakemake.input[0]):
        resampled = resampling.to_common_pixels(turn.apply(raw), snakemake.params.settings)
    volumes.write(snakemake.output[0], resampled.array, resampled.affine)
