from pathlib import Path

from cardioseg import phantom
from job import job

with job(snakemake):
    patient, params = int(snakemake.wildcards.patient), snakemake.params
    phantom.write_patient(Path("results/phantom"), patient, params.seed, modalities=params.modalities)
