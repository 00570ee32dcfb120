import pandas as pd

from cardioseg import metrics, summary, volumes
from job import job

with job(snakemake):
    structures = snakemake.params.structures
    raw = volumes.read_image(snakemake.input.raw)
    truth = volumes.read_labels(snakemake.input.labels, structures, raw)
    rows = []
    for model, path in zip(snakemake.params.models, snakemake.input.masks, strict=True):
        method, _, seed = model.partition("/seed")
        mask = volumes.read_labels(path, structures, raw)
        for row in metrics.evaluate(mask.array, truth.array, raw.spacing, list(structures)):
            about = {"method": method, "split": snakemake.params.split, "patient": snakemake.wildcards.patient}
            rows.append(about | row | {"seed": seed})
    table = pd.DataFrame(rows)[summary.COLUMNS]
    table.to_csv(snakemake.output[0], index=False, float_format="%.6f", na_rep="N/A")
