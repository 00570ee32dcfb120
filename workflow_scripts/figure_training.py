import pandas as pd

from cardioseg.figures import style, training
from support.job import job

with job(snakemake):
    segmentation: dict[str, dict[str, pd.DataFrame]] = {}
    for (network, seed), path in zip(snakemake.params.segmentation, snakemake.input.segmentation, strict=True):
        segmentation.setdefault(network, {})[f"seed {seed}"] = pd.read_csv(path)
    localisation, translation = pd.read_csv(snakemake.input.localisation), pd.read_csv(snakemake.input.translation)
    style.save(training.figure(localisation, translation, segmentation), snakemake.output)
