from pathlib import Path

import pandas as pd

from cardioseg.evaluation import tables
from support.job import job

with job(snakemake):
    metrics = pd.read_csv(snakemake.input[0], dtype={"patient": str, "seed": "Int64"})
    published = snakemake.params.published
    numbers = {"index": False, "float_format": "%.6f", "na_rep": "N/A"}
    tables.table1(metrics, published).to_csv(snakemake.output.table, **numbers)
    Path(snakemake.output.markdown).write_text(tables.markdown(metrics, published))
    Path(snakemake.output.html).write_text(tables.html(metrics, published))
    Path(snakemake.output.latex).write_text(tables.latex(metrics, published))
    significance = tables.comparisons(tables.values(metrics))
    significance.to_csv(snakemake.output.significance, index=False, float_format="%.6g", na_rep="N/A")
