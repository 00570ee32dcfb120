# Probabilities per seed and their mean on the grid of the crop, and masks on the grid of the raw image.
rule predict:
    input:
        image=f"results/cropped/{TARGET}/{{patient}}.nii.gz",
        raw=raw_image,
        unet="results/segmentation/seed{seed}/unet_pretrained.pt",
        unet_ft="results/segmentation/seed{seed}/unet_finetuned.pt",
        cascade="results/segmentation/seed{seed}/cascade_finetuned.pt",
    output:
        probabilities="results/probabilities/cascade_ft/seed{seed}/{patient}.nii.gz",
        masks=expand("results/masks/{network}/seed{{seed}}/{{patient}}.nii.gz", network=NETWORKS),
    log:
        "results/logs/predict/seed{seed}/{patient}.log",
    benchmark:
        "results/benchmarks/predict/seed{seed}/{patient}.tsv"
    group:
        "inference"
    conda:
        "../envs/cardioseg.yaml"
    threads: threads("prediction")
    params:
        settings=prediction_settings(),
        structures=STRUCTURES,
        code=code("predict.py"),
    script:
        "../workflow_scripts/predict.py"


if config["self_training"]:

    use rule predict as predict_self_trained with:
        input:
            image=f"results/cropped/{TARGET}/{{patient}}.nii.gz",
            raw=raw_image,
            unet_ft=MEMBER_WEIGHTS[0],
            cascade=MEMBER_WEIGHTS[1],
        output:
            probabilities=f"results/probabilities/{MEMBER}/seed{{seed}}/{{patient}}.nii.gz",
            masks=[f"results/masks/{MEMBER}/seed{{seed}}/{{patient}}.nii.gz"],
        log:
            "results/logs/predict_self_trained/seed{seed}/{patient}.log",
        benchmark:
            "results/benchmarks/predict_self_trained/seed{seed}/{patient}.tsv"


rule average:
    input:
        members=expand(f"results/probabilities/{MEMBER}/seed{{seed}}/{{{{patient}}}}.nii.gz", seed=SEEDS),
        raw=raw_image,
    output:
        probabilities="results/probabilities/ensemble/{patient}.nii.gz",
        mask="results/masks/ensemble/{patient}.nii.gz",
    log:
        "results/logs/average/{patient}.log",
    benchmark:
        "results/benchmarks/average/{patient}.tsv"
    group:
        "inference"
    conda:
        "../envs/cardioseg.yaml"
    params:
        structures=STRUCTURES,
        code=code("average.py"),
    script:
        "../workflow_scripts/average.py"
