from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cardioseg.evaluation import measures, summary, thirds
from support.job import job


def collect(paths: Sequence[str], columns: Sequence[str], collected: str) -> pd.DataFrame:
    tables = [measures.read(path) for path in paths]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    table.to_csv(collected, index=False, float_format="%.6f", na_rep="N/A")
    return table


with job(snakemake):
    table = collect(snakemake.input.whole, measures.COLUMNS, snakemake.output.metrics)
    collect(snakemake.input.thirds, thirds.COLUMNS, snakemake.output.thirds)
    Path(snakemake.output.summary).write_text(
        "Mean over patients (standard deviation), in the raw geometry; AVG: over the structures of a patient\n\n"
        f"{summary.by_method(table)}\n",
        "utf-8",
    )
