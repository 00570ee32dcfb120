import pandas as pd

from cardioseg.figures import distributions, style
from support.job import job

with job(snakemake):
    metrics = pd.read_csv(snakemake.input.metrics, dtype={"patient": str})
    style.save(distributions.figure(metrics, snakemake.params.methods), snakemake.output)
