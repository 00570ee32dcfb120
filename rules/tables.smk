# The paper's Table 1, the significance of its differences, and clinical quantities with their agreement with manual ones.
rule table1:
    input:
        "results/metrics.csv",
    output:
        table="results/table1.csv",
        markdown="results/table1.md",
        html=report("results/table1.html", caption="captions/table1.rst", category="Tables"),
        latex="results/table1.tex",
        significance=report("results/significance.csv", caption="captions/significance.rst", category="Tables"),
    log:
        "results/logs/table1.log",
    benchmark:
        "results/benchmarks/table1.tsv"
    conda:
        "../envs/cardioseg.yaml"
    params:
        published=on_mscmrseg(config),
        code=code("table1.py"),
    script:
        "../workflow_scripts/table1.py"


rule clinical:
    input:
        "results/metrics.csv",
    output:
        quantities=report("results/clinical.csv", caption="captions/clinical.rst", category="Clinical quantities"),
        agreement=report("results/bland_altman.csv", caption="captions/agreement.rst", category="Clinical quantities"),
        figures=[
            report(
                "results/figures/bland_altman.png", caption="captions/bland_altman.rst", category="Clinical quantities"
            ),
            "results/figures/bland_altman.svg",
        ],
    log:
        "results/logs/clinical.log",
    benchmark:
        "results/benchmarks/clinical.tsv"
    conda:
        "../envs/cardioseg.yaml"
    params:
        settings=section("clinical"),
        code=code("clinical.py"),
    script:
        "../workflow_scripts/clinical.py"
