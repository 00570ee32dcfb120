# A table of every volume: splits, geometry, oddities, and whether its heart was found. Volumes that only the
# registration of manual labels reads are not cropped.
LOCATIONS = {
    (modality, patient): f"results/located/{modality}/{patient}.json"
    for modality, splits in ((SOURCE, cohorts.SPLITS_OF_SOURCE), (TARGET, cohorts.SPLITS_OF_TARGET))
    for split in splits
    for patient in SPLITS[split]
}
if "predicted" in FUSED:
    LOCATIONS |= {(SOURCE, patient): f"results/located/{SOURCE}/{patient}.json" for patient in WITH_LABELS["predicted"]}


rule cohort:
    input:
        files=sorted({str(path) for files in COHORT.volumes.values() for path in (files.image, files.labels) if path}),
        locations=list(LOCATIONS.values()),
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
            [modality, patient, str(files.image), str(files.labels or ""), LOCATIONS.get((modality, patient), "")]
            for (modality, patient), files in COHORT.volumes.items()
        ],
        splits={
            role: {split: SPLITS[split] for split in splits}
            for role, splits in ((SOURCE, cohorts.SPLITS_OF_SOURCE), (TARGET, cohorts.SPLITS_OF_TARGET))
        },
        notes=COHORT.notes,
        codes=CODES,
        wall=config["clinical"],
        code=code("report_cohort.py"),
    script:
        "../workflow_scripts/report_cohort.py"
