# Dice, surface distances, volumes and wall thickness of every mask in the raw geometry, and Dice and distances of each
# third of the stack: per patient, then all together.
rule evaluate:
    input:
        raw=raw_image,
        labels=lambda wildcards: volume(TARGET, wildcards.patient).labels,
        masks=lambda wildcards: expand(
            "results/masks/{model}/{patient}.nii.gz", model=models(wildcards.patient), patient=wildcards.patient
        ),
    output:
        whole="results/metrics/{patient}.csv",
        thirds="results/metrics/thirds/{patient}.csv",
    log:
        "results/logs/evaluate/{patient}.log",
    benchmark:
        "results/benchmarks/evaluate/{patient}.tsv"
    group:
        "inference"
    conda:
        "../envs/cardioseg.yaml"
    params:
        models=lambda wildcards: models(wildcards.patient),
        unavailable=lambda wildcards: [model for model in MODELS if model not in models(wildcards.patient)],
        split=lambda wildcards: "validation" if wildcards.patient in SPLITS["validation"] else "test",
        structures=STRUCTURES,
        codes=CODES[TARGET],
        clinical=section("clinical"),
        code=code("evaluate.py"),
    script:
        "../workflow_scripts/evaluate.py"


rule metrics:
    input:
        whole=expand("results/metrics/{patient}.csv", patient=EVALUATED),
        thirds=expand("results/metrics/thirds/{patient}.csv", patient=EVALUATED),
    output:
        metrics=report("results/metrics.csv", caption="captions/metrics.rst", category="Tables"),
        thirds=report("results/metrics_thirds.csv", caption="captions/thirds.rst", category="Tables"),
        summary="results/summary.txt",
    log:
        "results/logs/metrics.log",
    benchmark:
        "results/benchmarks/metrics.tsv"
    conda:
        "../envs/cardioseg.yaml"
    params:
        code=code("collect_metrics.py"),
    script:
        "../workflow_scripts/collect_metrics.py"
