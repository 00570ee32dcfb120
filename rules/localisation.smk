# A coarse network that finds the heart in volumes of both modalities, trained only on the source. It resamples these
# volumes by itself, since their crops, which keep the resampled files, wait for it.
rule train_localiser:
    input:
        raw=[COHORT.volumes[SOURCE, patient].image for patient in SPLITS["labelled"]],
        labels=[COHORT.volumes[SOURCE, patient].labels for patient in SPLITS["labelled"]],
    output:
        weights="results/localisation/network.pt",
        history="results/localisation/history.csv",
    log:
        "results/logs/train_localiser.log",
    benchmark:
        "results/benchmarks/train_localiser.tsv"
    conda:
        "../envs/cardioseg.yaml"
    threads: threads("localisation")
    resources:
        gpu=1,
    params:
        settings=localiser_settings(),
        resampling=section("resampling"),
        turns=[turn(SOURCE, patient) for patient in SPLITS["labelled"]],
        classes=1 + len(STRUCTURES),
        codes=CODES[SOURCE],
        seed=config["seed"],
        code=code("train_localiser.py"),
    script:
        "../workflow_scripts/train_localiser.py"
