from pathlib import Path

from cardioseg.phantoms import heart
from support.job import job

with job(snakemake):
    patient, params = int(snakemake.wildcards.patient), snakemake.params
    heart.write_patient(Path("results/phantom"), patient, params.seed, modalities=params.modalities)
