from cardioseg.evaluation import measures
from cardioseg.figures import distributions, style
from support.job import job

with job(snakemake):
    metrics = measures.read(snakemake.input.metrics)
    style.save(distributions.figure(metrics, snakemake.params.methods), snakemake.output)
