# The result on one page, which the report opens on: the cohort in numbers, Table 1, the thirds of the stack, segmentations.
rule overview:
    input:
        cohort="results/cohort/cohort.csv",
        metrics="results/metrics.csv",
        thirds="results/metrics_thirds.csv",
        picture="results/figures/segmentations.png",
    output:
        report("results/overview.html", caption="captions/overview.rst", category="Tables"),
    log:
        "results/logs/overview.log",
    benchmark:
        "results/benchmarks/overview.tsv"
    conda:
        "../envs/cardioseg.yaml"
    params:
        published=on_mscmrseg(config),
        translation=config["translation"]["method"],
        shown=[FINAL.name, FINAL.title],
        code=code("overview.py"),
    script:
        "../workflow_scripts/overview.py"
