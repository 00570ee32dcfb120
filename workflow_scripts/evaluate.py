import pandas as pd

from cardioseg import metrics, summary, volumes
from job import job

with job(snakemake):
    structures = snakemake.params.structures
    raw = volumes.read_image(snakemake.input.raw)
    truth = volumes.read_labels(snakemake.input.labels, structures, raw)
    about = {"split": snakemake.params.split, "patient": snakemake.wildcards.patient}
    rows: list[dict[str, str | float]] = [
        about | {"method": model, "structure": name} for model in snakemake.params.unavailable for name in structures
    ]
    for model, path in zip(snakemake.params.models, snakemake.input.masks, strict=True):
        method, _, seed = model.partition("/seed")
        mask = volumes.read_labels(path, structures, raw)
        for row in metrics.evaluate(mask.array, truth.array, raw.spacing, list(structures)):
            rows.append(about | {"method": method} | row | {"seed": seed})
    table = pd.DataFrame(rows, columns=summary.COLUMNS)
    table.to_csv(snakemake.output[0], index=False, float_format="%.6f", na_rep="N/A")
