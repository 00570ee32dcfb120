# MUNIT on unpaired slices of both modalities; no labels.
rule translate:
    input:
        source=crops(SOURCE, SPLITS["translation_source"]),
        target=crops(TARGET, SPLITS["translation_target"]),
    output:
        network="results/translation/munit.pt",
        history="results/translation/history.csv",
    params:
        settings=section("translation"),
        seed=config["seed"],
        code=code("train_munit.py"),
    log:
        "results/logs/translate.log",
    benchmark:
        "results/benchmarks/translate.tsv"
    threads: threads("translation")
    resources:
        gpu=1,
    conda:
        "../envs/cardioseg.yaml"
    script:
        "../workflow_scripts/train_munit.py"
