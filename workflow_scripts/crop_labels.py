from cardioseg.core import volumes
from cardioseg.preprocessing import resampling
from support.job import job

with job(snakemake):
    given, grid = snakemake.input, volumes.read(snakemake.input.image)
    labels = resampling.read_labels_on_grid(given.labels, given.raw, grid, snakemake.params.codes)
    volumes.write(snakemake.output[0], labels, grid.affine)
