from pathlib import Path

import pandas as pd

from cardioseg.evaluation import measures, summary
from support.job import job

with job(snakemake):
    tables = [measures.read(path) for path in snakemake.input]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=summary.COLUMNS)
    table.to_csv(snakemake.output.metrics, index=False, float_format="%.6f", na_rep="N/A")
    Path(snakemake.output.summary).write_text(
        f"Dice, ASD and HD95 in the raw geometry, mean (standard deviation) over patients\n{summary.by_method(table)}\n"
    )
