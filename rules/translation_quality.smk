# How good the synthetic images are, in numbers: anatomy kept, styles diverse, appearance real (paper Fig. 5 shows it).
# Each U-Net segments images of the kind that it was trained for: pre-trained ones the source, fine-tuned ones the target
# and, if there are several seeds, the synthetic images of another seed.
TARGET_PATIENTS = list(dict.fromkeys([*EVALUATED, *SEGMENTED, *SPLITS["translation_target"]]))


rule translation_quality:
    input:
        source=SOURCE_IMAGES,
        source_labels=SOURCE_LABELS,
        synthetic=expand(
            "results/synthetic/seed{seed}/{patient}_{sample}.nii.gz",
            seed=SEEDS,
            patient=SPLITS["labelled"],
            sample=SAMPLES,
        ),
        target=crops(TARGET, TARGET_PATIENTS),
        # The first of these patients, in the raw geometry.
        target_raw=[COHORT.volumes[TARGET, patient].image for patient in EVALUATED],
        target_labels=[COHORT.volumes[TARGET, patient].labels for patient in EVALUATED],
        unet=expand("results/segmentation/seed{seed}/unet_pretrained.pt", seed=SEEDS),
        unet_ft=expand("results/segmentation/seed{seed}/unet_finetuned.pt", seed=SEEDS),
    output:
        report("results/translation.csv", caption="captions/translation.rst", category="Translation"),
    log:
        "results/logs/translation_quality.log",
    benchmark:
        "results/benchmarks/translation_quality.tsv"
    priority: -1  # nothing waits for it
    conda:
        "../envs/cardioseg.yaml"
    threads: threads("prediction")
    resources:
        gpu=1,
    params:
        settings=network_settings(),
        modalities=[SOURCE, TARGET],
        structures=STRUCTURES,
        codes=CODES[TARGET],
        seeds=SEEDS,
        samples=config["synthesis"]["samples"],
        code=code("translation_quality.py"),
    script:
        "../workflow_scripts/translation_quality.py"
