# The translator, made from unpaired volumes of both modalities without labels.
rule train_translation:
    input:
        source=crops(SOURCE, SPLITS["translation_source"]),
        target=crops(TARGET, SPLITS["translation_target"]),
    output:
        network="results/translation/network.pt",
        history="results/translation/history.csv",
    log:
        "results/logs/train_translation.log",
    benchmark:
        "results/benchmarks/train_translation.tsv"
    priority: 1  # the longest, and most of the rest waits for it
    conda:
        "../envs/cardioseg.yaml"
    threads: threads("translation")
    resources:
        gpu=1,
    params:
        settings=translation_settings(),
        seed=config["seed"],
        code=code("train_translation.py"),
    script:
        "../workflow_scripts/train_translation.py"
