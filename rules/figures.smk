# What a person looks at first: masks on target images (paper Fig. 4), synthetic images (paper Fig. 5).
SHOWN = (EVALUATED or SEGMENTED)[-2:]
SHOWN_MODELS = {
    "U-Net": f"unet/seed{SEEDS[0]}",
    "U-Net (FT)": f"unet_ft/seed{SEEDS[0]}",
    "cascade (FT)": f"cascade_ft/seed{SEEDS[0]}",
    "cascade (FT) + PP": f"cascade_ft_pp/seed{SEEDS[0]}",
    "ensemble + PP": "ensemble_pp",
}
SHOWN_SAMPLES = list(SAMPLES)[:3]


rule figure_segmentations:
    input:
        images=[COHORT.volumes[TARGET, patient].image for patient in SHOWN],
        labels=[COHORT.volumes[TARGET, patient].labels for patient in SHOWN if patient in EVALUATED],
        masks=expand("results/masks/{model}/{patient}.nii.gz", patient=SHOWN, model=SHOWN_MODELS.values()),
    output:
        "results/figures/segmentations.png",
    log:
        "results/logs/figure_segmentations.log",
    benchmark:
        "results/benchmarks/figure_segmentations.tsv"
    conda:
        "../envs/cardioseg.yaml"
    params:
        patients=SHOWN,
        titles=list(SHOWN_MODELS),
        structures=STRUCTURES,
        code=code("figure_segmentations.py"),
    script:
        "../workflow_scripts/figure_segmentations.py"


rule figure_translations:
    input:
        images=crops(SOURCE, SPLITS["labelled"][:3]),
        labels=crop_labels(SPLITS["labelled"][:3]),
        synthetic=expand(
            "results/synthetic/seed{seed}/{patient}_{sample}.nii.gz",
            seed=SEEDS[0],
            patient=SPLITS["labelled"][:3],
            sample=SHOWN_SAMPLES,
        ),
    output:
        "results/figures/translations.png",
    log:
        "results/logs/figure_translations.log",
    benchmark:
        "results/benchmarks/figure_translations.tsv"
    conda:
        "../envs/cardioseg.yaml"
    params:
        patients=SPLITS["labelled"][:3],
        source=SOURCE,
        target=TARGET,
        structures=STRUCTURES,
        code=code("figure_translations.py"),
    script:
        "../workflow_scripts/figure_translations.py"
