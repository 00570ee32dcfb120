from pathlib import Path

from cardioseg import phantom
from job import job

with job(snakemake):
    phantom.write_patient(Path("results/phantom"), int(snakemake.wildcards.patient), snakemake.params.seed)
