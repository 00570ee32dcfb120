import json
from pathlib import Path

import yaml

from cardioseg.core import checksums, provenance
from support import raw_files, timings
from support.job import job

with job(snakemake):
    config = snakemake.config
    contents = checksums.sha256(snakemake.input.cohort)
    record = {
        "code": provenance.code(snakemake.params.source),
        "versions": provenance.versions(),
        "packages": provenance.installed(),
        "hardware": provenance.hardware(),
        "seeds": {key: config[key] for key in ("seed", "ensemble")},
        "configuration": config,
        "inputs": {raw_files.given(path): content for path, content in contents.items()},
    }
    Path(snakemake.output.record).write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    benchmarks = Path("results/benchmarks")
    table = provenance.resources(benchmarks, timings.counted(benchmarks))
    table.to_csv(snakemake.output.resources, index=False, float_format="%.1f", na_rep="N/A")
    Path(snakemake.output.configuration).write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
