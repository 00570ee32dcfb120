# What went in: every volume with its splits, geometry, oddities, and whether its heart was found.
rule cohort:
    input:
        files=sorted({str(path) for files in COHORT.volumes.values() for path in (files.image, files.labels) if path}),
        locations=[f"results/located/{modality}/{patient}.json" for modality, patient in COHORT.volumes],
    output:
        report("results/cohort/cohort.csv", caption="captions/cohort.rst", category="Provenance"),
    log:
        "results/logs/cohort.log",
    benchmark:
        "results/benchmarks/cohort.tsv"
    conda:
        "../envs/cardioseg.yaml"
    params:
        volumes=[
            [modality, patient, str(files.image), str(files.labels or "")]
            for (modality, patient), files in COHORT.volumes.items()
        ],
        splits={
            role: {split: SPLITS[split] for split in splits}
            for role, splits in ((SOURCE, cohorts.SPLITS_OF_SOURCE), (TARGET, cohorts.SPLITS_OF_TARGET))
        },
        notes=COHORT.notes,
        structures=STRUCTURES,
        wall=config["clinical"],
        code=code("report_cohort.py"),
    script:
        "../workflow_scripts/report_cohort.py"
