# MUNIT on unpaired slices of both modalities; no labels.
rule translate:
    input:
        source=crops(SOURCE, SPLITS["translation_source"]),
        target=crops(TARGET, SPLITS["translation_target"]),
    output:
        network="results/translation/munit.pt",
        history="results/translation/history.csv",
    log:
        "results/logs/translate.log",
    benchmark:
        "results/benchmarks/translate.tsv"
    priority: 1  # the longest, and most of the rest waits for it
    conda:
        "../envs/cardioseg.yaml"
    threads: threads("translation")
    resources:
        gpu=1,
    params:
        settings=section("translation"),
        seed=config["seed"],
        code=code("train_munit.py"),
    script:
        "../workflow_scripts/train_munit.py"
