from pathlib import Path

import pandas as pd

from cardioseg.evaluation import measures, summary
from support.job import job

with job(snakemake):
    tables = [measures.read(path) for path in snakemake.input]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=measures.COLUMNS)
    table.to_csv(snakemake.output.metrics, index=False, float_format="%.6f", na_rep="N/A")
    Path(snakemake.output.summary).write_text(
        "Mean over patients (standard deviation), in the raw geometry; AVG: over the structures of a patient\n\n"
        f"{summary.by_method(table)}\n",
        "utf-8",
    )
