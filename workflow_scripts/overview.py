from pathlib import Path

import pandas as pd

from cardioseg.evaluation import measures
from cardioseg.figures import overview
from cardioseg.translation.translators import TRANSLATORS
from support.job import job

with job(snakemake):
    given = snakemake.input
    page = overview.page(
        pd.read_csv(given.cohort, dtype={"patient": str, "modality": str}, keep_default_na=False),
        measures.read(given.metrics),
        measures.read(given.thirds),
        TRANSLATORS[snakemake.params.translation].title,
        snakemake.params.published,
        tuple(snakemake.params.shown),
        Path(given.picture),
    )
    Path(snakemake.output[0]).write_text(page, "utf-8")
