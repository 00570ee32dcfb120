# Per seed: what the cascades of the other seeds see in unlabelled target images, and both U-Nets, trained further on it.
if config["self_training"]:
    UNLABELLED = SPLITS["translation_target"]
    # Patients whose registered manual source labels are fused with the predictions.
    WITNESSES = [name for name in UNLABELLED if config["self_training"]["fused"] and name in SPLITS["labelled"]]
    PSEUDO_LABELS = expand("results/self_training/seed{{seed}}/pseudo_labels/{patient}.nii.gz", patient=UNLABELLED)

    rule pseudo_label:
        input:
            images=crops(TARGET, UNLABELLED),
            first=lambda wildcards: others("results/segmentation/seed{seed}/unet_finetuned.pt", wildcards.seed),
            second=lambda wildcards: others("results/segmentation/seed{seed}/cascade_finetuned.pt", wildcards.seed),
            witnesses=expand(f"results/masks/{WITNESS}/{{patient}}.nii.gz", patient=WITNESSES),
            raw=target_files("image", WITNESSES),
        output:
            pseudo_labels=PSEUDO_LABELS,
        log:
            "results/logs/self_training/seed{seed}/pseudo_label.log",
        benchmark:
            "results/benchmarks/self_training/seed{seed}/pseudo_label.tsv"
        conda:
            "../envs/cardioseg.yaml"
        threads: threads("prediction")
        resources:
            gpu=1,
        params:
            settings=prediction_settings(),
            fusion=(FUSED_BY | {"least_agreement": config["self_training"]["least_agreement"]} if WITNESSES else None),
            targets=config["self_training"]["targets"],
            keep_largest=config["postprocessing"]["morphology"]["keep_largest"],
            patients=UNLABELLED,
            witnessed=WITNESSES,
            structures=STRUCTURES,
            code=code("pseudo_label.py"),
        script:
            "../workflow_scripts/pseudo_label.py"

    use rule finetune_unet as self_train_unet with:
        input:
            images=SOURCE_IMAGES,
            labels=SOURCE_LABELS,
            pseudo_images=crops(TARGET, UNLABELLED),
            pseudo_labels=PSEUDO_LABELS,
            start="results/segmentation/seed{seed}/unet_finetuned.pt",
        output:
            weights="results/self_training/seed{seed}/unet_self_trained.pt",
            history="results/self_training/seed{seed}/unet_self_trained.csv",
        log:
            "results/logs/self_training/seed{seed}/unet_self_trained.log",
        benchmark:
            "results/benchmarks/self_training/seed{seed}/unet_self_trained.tsv"
        params:
            settings=segmentation_settings(config["self_training"]),
            classes=1 + len(STRUCTURES),
            seed=config["seed"],
            code=code("train_segmentation.py"),

    use rule self_train_unet as self_train_cascade with:
        input:
            images=SOURCE_IMAGES,
            labels=SOURCE_LABELS,
            pseudo_images=crops(TARGET, UNLABELLED),
            pseudo_labels=PSEUDO_LABELS,
            start="results/segmentation/seed{seed}/cascade_finetuned.pt",
            first="results/self_training/seed{seed}/unet_self_trained.pt",
        output:
            weights="results/self_training/seed{seed}/cascade_self_trained.pt",
            history="results/self_training/seed{seed}/cascade_self_trained.csv",
        log:
            "results/logs/self_training/seed{seed}/cascade_self_trained.log",
        benchmark:
            "results/benchmarks/self_training/seed{seed}/cascade_self_trained.tsv"
