# Class probabilities of every seed on the grid of the crop, their mean and their uncertainty, and masks on the raw grid.
ENSEMBLE = {
    "mean": "results/probabilities/ensemble/{patient}.nii.gz",
    "mask": "results/masks/ensemble/{patient}.nii.gz",
    "uncertainty": "results/uncertainty/{patient}.nii.gz",
}


rule predict:
    input:
        image=f"results/cropped/{TARGET}/{{patient}}.nii.gz",
        raw=raw_image,
        unet=expand("results/segmentation/seed{seed}/unet_pretrained.pt", seed=SEEDS),
        unet_ft=expand("results/segmentation/seed{seed}/unet_finetuned.pt", seed=SEEDS),
        cascade=expand("results/segmentation/seed{seed}/cascade_finetuned.pt", seed=SEEDS),
    output:
        **({} if config["self_training"] else ENSEMBLE),
        probabilities=expand("results/probabilities/cascade_ft/seed{seed}/{{patient}}.nii.gz", seed=SEEDS),
        masks=expand("results/masks/{network}/seed{seed}/{{patient}}.nii.gz", seed=SEEDS, network=NETWORKS),
    log:
        "results/logs/predict/{patient}.log",
    benchmark:
        "results/benchmarks/predict/{patient}.tsv"
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
            unet_ft=expand(MEMBER_WEIGHTS[0], seed=SEEDS),
            cascade=expand(MEMBER_WEIGHTS[1], seed=SEEDS),
        output:
            **ENSEMBLE,
            probabilities=expand(f"results/probabilities/{MEMBER}/seed{{seed}}/{{{{patient}}}}.nii.gz", seed=SEEDS),
            masks=expand(f"results/masks/{MEMBER}/seed{{seed}}/{{{{patient}}}}.nii.gz", seed=SEEDS),
        log:
            "results/logs/predict_self_trained/{patient}.log",
        benchmark:
            "results/benchmarks/predict_self_trained/{patient}.tsv"
