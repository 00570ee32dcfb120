import json
from pathlib import Path

from cardioseg.clinical import examination
from support.job import job

with job(snakemake):
    tables = examination.tables(
        [entry for path in snakemake.input for entry in json.loads(Path(path).read_text("utf-8"))]
    )
    for path in snakemake.output:
        tables[Path(path).stem].to_csv(path, index=False, float_format="%.3f", na_rep="N/A")
