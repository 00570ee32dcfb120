from pathlib import Path

import yaml

from cardioseg import provenance
from job import job

with job(snakemake):
    provenance.versions(snakemake.params.source).to_csv(snakemake.output.versions, index=False)
    table = provenance.resources("results/benchmarks")
    table.to_csv(snakemake.output.resources, index=False, float_format="%.1f", na_rep="N/A")
    Path(snakemake.output.configuration).write_text(yaml.safe_dump(snakemake.config, sort_keys=False))
