from pathlib import Path

from cardioseg.evaluation import measures, tables
from support.job import job

with job(snakemake):
    metrics = measures.read(snakemake.input[0])
    published = snakemake.params.published
    numbers = {"index": False, "float_format": "%.6f", "na_rep": "N/A"}
    tables.table1(metrics, published).to_csv(snakemake.output.table, **numbers)
    Path(snakemake.output.markdown).write_text(tables.markdown(metrics, published), "utf-8")
    Path(snakemake.output.html).write_text(tables.html(metrics, published), "utf-8")
    Path(snakemake.output.latex).write_text(tables.latex(metrics, published), "utf-8")
    significance = tables.comparisons(tables.values(metrics))
    significance.to_csv(snakemake.output.significance, index=False, float_format="%.6g", na_rep="N/A")
