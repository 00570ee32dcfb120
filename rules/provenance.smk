# What the results were made with, for the report: configuration, versions, and every step's time and memory.
rule provenance:
    input:
        RESULTS,
    output:
        configuration="results/provenance/configuration.yaml",
        versions="results/provenance/versions.csv",
        resources="results/provenance/resources.csv",
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
