# A coarse network finds the heart in every volume, of both modalities.
rule train_localiser:
    input:
        images=expand("results/resampled/{modality}/{patient}.nii.gz", modality=SOURCE, patient=SPLITS["labelled"]),
        labels=[COHORT.volumes[SOURCE, patient].labels for patient in SPLITS["labelled"]],
    output:
        weights="results/localisation/network.pt",
        history="results/localisation/history.csv",
    params:
        settings=section("localisation"),
        structures=section("cohort")["structures"],
        seed=config["seed"],
        code=code("train_localiser.py"),
    log:
        "results/logs/train_localiser.log",
    benchmark:
        "results/benchmarks/train_localiser.tsv"
    threads: threads("localisation")
    conda:
        "../envs/cardioseg.yaml"
    script:
        "../workflow_scripts/train_localiser.py"


rule locate:
    input:
        image="results/resampled/{modality}/{patient}.nii.gz",
        weights="results/localisation/network.pt",
    output:
        "results/located/{modality}/{patient}.json",
    params:
        settings=section("localisation"),
        classes=1 + len(config["cohort"]["structures"]),
        code=code("locate.py"),
    log:
        "results/logs/locate/{modality}/{patient}.log",
    benchmark:
        "results/benchmarks/locate/{modality}/{patient}.tsv"
    threads: threads("prediction")
    conda:
        "../envs/cardioseg.yaml"
    group:
        "preprocessing"
    script:
        "../workflow_scripts/locate.py"
