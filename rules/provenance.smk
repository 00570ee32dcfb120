# Everything that a run makes, and what it was made with: code, versions, hardware, configuration, seeds, checksums of
# the cohort's files, and the time and memory of every step.
RESULTS = [
    "results/cohort/cohort.csv",
    "results/overview.html",
    "results/metrics.csv",
    "results/model/ensemble.pt",
    "results/model/MODEL_CARD.md",
    "results/translation.csv",
    "results/significance.csv",
    "results/clinical.csv",
    "results/bland_altman.csv",
    *EXAMINATIONS,
    *expand("results/table1.{format}", format=["csv", "md", "html", "tex"]),
    *expand("results/figures/{figure}.{format}", figure=[*FIGURES, "bland_altman"], format=["png", "svg"]),
    *expand("results/uncertainty/{patient}.nii.gz", patient=SEGMENTED),
    *expand(f"results/masks/{FINAL.name}/{{patient}}.nii.gz", patient=SEGMENTED),
    *(
        f"results/masks/{method.name}/{patient}.nii.gz"
        for method in METHODS
        if method.section == "fusion"
        for patient in WITH_LABELS[method.source_labels]
    ),
]


rule provenance:
    input:
        cohort=rules.cohort.input.files,
        results=RESULTS,
    output:
        record=report("results/provenance.json", caption="captions/provenance.rst", category="Provenance"),
        configuration=report(
            "results/provenance/configuration.yaml", caption="captions/configuration.rst", category="Provenance"
        ),
        resources=report("results/provenance/resources.csv", caption="captions/resources.rst", category="Provenance"),
    log:
        "results/logs/provenance.log",
    benchmark:
        "results/benchmarks/provenance.tsv"
    conda:
        "../envs/cardioseg.yaml"
    params:
        source=str(workflow.basedir),
        configuration={key: section(key) for key in sorted(config) if key != "compute"},
        code=code("provenance.py"),
    script:
        "../workflow_scripts/provenance.py"
