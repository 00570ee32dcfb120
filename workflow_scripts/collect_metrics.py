import logging

import pandas as pd

from cardioseg import summary
from job import job

with job(snakemake):
    tables = [pd.read_csv(path, dtype={"patient": str, "seed": "Int64"}) for path in snakemake.input]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=summary.COLUMNS)
    table.to_csv(snakemake.output[0], index=False, float_format="%.6f", na_rep="N/A")
    logging.info("Dice and ASD, mean (standard deviation)\n%s", summary.by_method(table))
