from cardioseg.core import volumes
from cardioseg.preprocessing import resampling
from support.job import job

with job(snakemake):
    structures = snakemake.params.structures
    labels = volumes.read_labels(snakemake.input.labels, structures, volumes.read_image(snakemake.input.raw))
    grid = volumes.read(snakemake.input.image)
    volumes.write(snakemake.output[0], resampling.labels_on_grid(labels, grid, 1 + len(structures)), grid.affine)
