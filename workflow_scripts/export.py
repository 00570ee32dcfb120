from pathlib import Path

from cardioseg.core import checksums, files, provenance
from cardioseg.model import model_card, trained_model, training_cohort
from support.job import job

with job(snakemake):
    made_from, structures = snakemake.input, snakemake.params.structures
    labels, targets = (
        {Path(path).name.removesuffix(".nii.gz"): path for path in paths}
        for paths in (made_from.labels, made_from.targets)
    )
    cohort = training_cohort.summarise(
        made_from.cohort,
        labels,
        targets,
        made_from.metrics,
        snakemake.params.source,
        snakemake.params.target,
        list(structures),
        snakemake.params.self_training,
    )
    seeds = snakemake.params.seeds
    weights = trained_model.WeightFiles(
        made_from.localiser,
        dict(zip(seeds, zip(made_from.first, made_from.second, strict=True), strict=True)),
        dict(zip(seeds, made_from.source, strict=True)) if made_from.source else {},
    )
    code = provenance.code(snakemake.params.repository)
    model = trained_model.gather(
        snakemake.params.settings,
        structures,
        weights,
        cohort,
        {"code": f"{code['commit']} (modified)" if code["modified"] else str(code["commit"]), **provenance.versions()},
        checksums.sha256(
            [
                *(made_from.localiser, *made_from.first, *made_from.second, *made_from.source),
                *(made_from.cohort, made_from.metrics),
            ]
        ),
    )
    trained_model.save(snakemake.output.model, model)
    files.write_text(snakemake.output.card, model_card.text(model, None))
