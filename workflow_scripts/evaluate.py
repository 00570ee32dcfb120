import pandas as pd

from cardioseg.core import volumes
from cardioseg.evaluation import clinical, metrics, summary
from support.job import job

with job(snakemake):
    structures, wall = snakemake.params.structures, snakemake.params.clinical
    raw = volumes.read_image(snakemake.input.raw)
    truth = volumes.read_labels(snakemake.input.labels, structures, raw)
    between = [1 + list(structures).index(wall[key]) for key in ("cavity", "myocardium")] if wall else []
    true_thickness = clinical.wall_thickness(truth.array, raw.spacing, *between) if wall else metrics.NOT_AVAILABLE
    about = {"split": snakemake.params.split, "patient": snakemake.wildcards.patient}
    rows: list[dict[str, str | float]] = [
        about | {"method": model, "structure": name} for model in snakemake.params.unavailable for name in structures
    ]
    for model, path in zip(snakemake.params.models, snakemake.input.masks, strict=True):
        method, _, seed = model.partition("/seed")
        mask = volumes.read_labels(path, structures, raw)
        for row in metrics.evaluate(mask.array, truth.array, raw.spacing, list(structures)):
            if wall and row["structure"] == wall["myocardium"]:
                row["wall_thickness_mm"] = clinical.wall_thickness(mask.array, raw.spacing, *between)
                row["wall_thickness_truth_mm"] = true_thickness
            rows.append(about | {"method": method} | row | {"seed": seed})
    table = pd.DataFrame(rows, columns=summary.COLUMNS)
    table.to_csv(snakemake.output[0], index=False, float_format="%.6f", na_rep="N/A")
