# Per seed: several target-like images of every labelled source volume, each in a style of its own.
rule synthesise:
    input:
        network="results/translation/network.pt",
        images=crops(SOURCE, SPLITS["labelled"]),
    output:
        [
            f"results/synthetic/seed{{seed}}/{patient}_{sample}.nii.gz"
            for patient in SPLITS["labelled"]
            for sample in SAMPLES
        ],
    log:
        "results/logs/synthesise/seed{seed}.log",
    benchmark:
        "results/benchmarks/synthesise/seed{seed}.tsv"
    conda:
        "../envs/cardioseg.yaml"
    threads: threads("prediction")
    resources:
        gpu=1,
    params:
        settings=translation_settings(),
        patients=SPLITS["labelled"],
        samples=config["synthesis"]["samples"],
        seed=config["seed"],
        code=code("synthesise.py"),
    script:
        "../workflow_scripts/synthesise.py"
