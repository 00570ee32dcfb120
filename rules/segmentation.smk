# Per seed: U-Net 1 pre-trained on the source and fine-tuned on its synthetic set, then U-Net 2 with U-Net 1 fixed.
SYNTHETIC = [
    f"results/synthetic/seed{{seed}}/{patient}_{sample}.nii.gz" for patient in SPLITS["labelled"] for sample in SAMPLES
]
SOURCE_IMAGES = crops(SOURCE, SPLITS["labelled"])
SOURCE_LABELS = crop_labels(SPLITS["labelled"])
FINETUNING_IMAGES = [*SYNTHETIC, *(SOURCE_IMAGES if config["segmentation"]["finetuning"]["with_source"] else [])]
FINETUNING_LABELS = [
    *(path for path in SOURCE_LABELS for _ in SAMPLES),
    *(SOURCE_LABELS if config["segmentation"]["finetuning"]["with_source"] else []),
]


rule pretrain_unet:
    input:
        images=SOURCE_IMAGES,
        labels=SOURCE_LABELS,
    output:
        weights="results/segmentation/seed{seed}/unet_pretrained.pt",
        history="results/segmentation/seed{seed}/unet_pretrained.csv",
    log:
        "results/logs/segmentation/seed{seed}/unet_pretrained.log",
    benchmark:
        "results/benchmarks/segmentation/seed{seed}/unet_pretrained.tsv"
    conda:
        "../envs/cardioseg.yaml"
    threads: threads("segmentation")
    resources:
        gpu=1,
    params:
        settings=segmentation_settings(config["segmentation"]["pretraining"]),
        classes=1 + len(STRUCTURES),
        seed=config["seed"],
        code=code("train_segmentation.py"),
    script:
        "../workflow_scripts/train_segmentation.py"


use rule pretrain_unet as finetune_unet with:
    input:
        images=FINETUNING_IMAGES,
        labels=FINETUNING_LABELS,
        start="results/segmentation/seed{seed}/unet_pretrained.pt",
    output:
        weights="results/segmentation/seed{seed}/unet_finetuned.pt",
        history="results/segmentation/seed{seed}/unet_finetuned.csv",
    log:
        "results/logs/segmentation/seed{seed}/unet_finetuned.log",
    benchmark:
        "results/benchmarks/segmentation/seed{seed}/unet_finetuned.tsv"
    params:
        settings=segmentation_settings(config["segmentation"]["finetuning"]),
        classes=1 + len(STRUCTURES),
        seed=config["seed"],
        code=code("train_segmentation.py"),


use rule pretrain_unet as pretrain_cascade with:
    input:
        images=SOURCE_IMAGES,
        labels=SOURCE_LABELS,
        first="results/segmentation/seed{seed}/unet_finetuned.pt",
    output:
        weights="results/segmentation/seed{seed}/cascade_pretrained.pt",
        history="results/segmentation/seed{seed}/cascade_pretrained.csv",
    log:
        "results/logs/segmentation/seed{seed}/cascade_pretrained.log",
    benchmark:
        "results/benchmarks/segmentation/seed{seed}/cascade_pretrained.tsv"


use rule finetune_unet as finetune_cascade with:
    input:
        images=FINETUNING_IMAGES,
        labels=FINETUNING_LABELS,
        start="results/segmentation/seed{seed}/cascade_pretrained.pt",
        first="results/segmentation/seed{seed}/unet_finetuned.pt",
    output:
        weights="results/segmentation/seed{seed}/cascade_finetuned.pt",
        history="results/segmentation/seed{seed}/cascade_finetuned.csv",
    log:
        "results/logs/segmentation/seed{seed}/cascade_finetuned.log",
    benchmark:
        "results/benchmarks/segmentation/seed{seed}/cascade_finetuned.tsv"
