# The paper's figures on this cohort, the course of the trainings, and where the result is poor or uncertain.

# The first mask of every method, by the method's title.
SHOWN_MODELS = {title: MODELS_OF[name][0] for name, title in methods.reported().items()}
# The last two patients. If the test split goes beyond the labelled patients, no training saw labels of these two.
SHOWN = (EVALUATED or SEGMENTED)[-2:]
SHOWN_LABELS = {
    **({(patient, "manual"): COHORT.volumes[TARGET, patient].labels for patient in SHOWN} if EVALUATED else {}),
    **{
        (patient, title): f"results/masks/{model}/{patient}.nii.gz"
        for patient in SHOWN
        for title, model in SHOWN_MODELS.items()
        if model in models(patient)
    },
}
SHOWN_SOURCE = SPLITS["labelled"][:3]
SHOWN_SAMPLES = list(SAMPLES)[:5]
# For Fig. 1: all evaluated patients, and as an example one with labels of both modalities if there is one.
COMPARED = EVALUATED or SEGMENTED[:1]
EXAMPLE = next((patient for patient in COMPARED if patient in SPLITS["labelled"]), None)
PHASES = {
    "segmentation/seed{seed}/unet_pretrained": "U-Net 1, pre-training",
    "segmentation/seed{seed}/unet_finetuned": "U-Net 1, fine-tuning",
    "segmentation/seed{seed}/cascade_pretrained": "U-Net 2, pre-training",
    "segmentation/seed{seed}/cascade_finetuned": "U-Net 2, fine-tuning",
}
if config["self_training"]:
    PHASES["self_training/seed{seed}/unet_self_trained"] = "U-Net 1, self-training"
    PHASES["self_training/seed{seed}/cascade_self_trained"] = "U-Net 2, self-training"
FIGURES = [
    "appearance",
    "segmentations",
    "translations",
    "training",
    "uncertainty",
    # These need somebody with labels.
    *(["distributions", "worst"] if EVALUATED else []),
]


rule figure_appearance:
    input:
        source=crops(SOURCE, SPLITS["labelled"]),
        source_labels=crop_labels(SPLITS["labelled"]),
        synthetic=expand(
            "results/synthetic/seed{seed}/{patient}_{sample}.nii.gz",
            seed=SEEDS[0],
            patient=SPLITS["labelled"],
            sample=SAMPLES,
        ),
        target=crops(TARGET, COMPARED),
        target_raw=target_files("image", EVALUATED),
        target_labels=target_files("labels", EVALUATED),
    output:
        report("results/figures/appearance.png", caption="captions/appearance.rst", category="Translation"),
        "results/figures/appearance.svg",
    log:
        "results/logs/figure_appearance.log",
    benchmark:
        "results/benchmarks/figure_appearance.tsv"
    priority: -1  # nothing waits for it
    conda:
        "../envs/cardioseg.yaml"
    params:
        examples=[SPLITS["labelled"].index(EXAMPLE), COMPARED.index(EXAMPLE)] if EXAMPLE else [0, 0],
        source=SOURCE,
        target=TARGET,
        structures=STRUCTURES,
        codes=CODES[TARGET],
        code=code("figure_appearance.py"),
    script:
        "../workflow_scripts/figure_appearance.py"


rule figure_segmentations:
    input:
        images=target_files("image", SHOWN),
        labels=list(SHOWN_LABELS.values()),
    output:
        report("results/figures/segmentations.png", caption="captions/segmentations.rst", category="Segmentation"),
        "results/figures/segmentations.svg",
    log:
        "results/logs/figure_segmentations.log",
    benchmark:
        "results/benchmarks/figure_segmentations.tsv"
    conda:
        "../envs/cardioseg.yaml"
    params:
        patients=SHOWN,
        labels=[list(key) for key in SHOWN_LABELS],
        titles=[*(["manual"] if EVALUATED else []), *SHOWN_MODELS],
        reference="manual" if EVALUATED else FINAL.title,
        structures=STRUCTURES,
        codes=CODES[TARGET],
        code=code("figure_segmentations.py"),
    script:
        "../workflow_scripts/figure_segmentations.py"


rule figure_translations:
    input:
        images=crops(SOURCE, SHOWN_SOURCE),
        labels=crop_labels(SHOWN_SOURCE),
        synthetic=expand(
            "results/synthetic/seed{seed}/{patient}_{sample}.nii.gz",
            seed=SEEDS[0],
            patient=SHOWN_SOURCE,
            sample=SHOWN_SAMPLES,
        ),
    output:
        report("results/figures/translations.png", caption="captions/translations.rst", category="Translation"),
        "results/figures/translations.svg",
    log:
        "results/logs/figure_translations.log",
    benchmark:
        "results/benchmarks/figure_translations.tsv"
    priority: -1  # nothing waits for it
    conda:
        "../envs/cardioseg.yaml"
    params:
        patients=SHOWN_SOURCE,
        source=SOURCE,
        target=TARGET,
        structures=STRUCTURES,
        code=code("figure_translations.py"),
    script:
        "../workflow_scripts/figure_translations.py"


rule figure_training:
    input:
        localisation="results/localisation/history.csv",
        translation="results/translation/history.csv",
        segmentation=[expand(f"results/{phase}.csv", seed=SEEDS) for phase in PHASES],
    output:
        report("results/figures/training.png", caption="captions/training.rst", category="Training"),
        "results/figures/training.svg",
    log:
        "results/logs/figure_training.log",
    benchmark:
        "results/benchmarks/figure_training.tsv"
    priority: -1  # nothing waits for it
    conda:
        "../envs/cardioseg.yaml"
    params:
        segmentation=[[title, seed] for title in PHASES.values() for seed in SEEDS],
        code=code("figure_training.py"),
    script:
        "../workflow_scripts/figure_training.py"


rule figure_distributions:
    input:
        metrics="results/metrics.csv",
    output:
        report("results/figures/distributions.png", caption="captions/distributions.rst", category="Segmentation"),
        "results/figures/distributions.svg",
    log:
        "results/logs/figure_distributions.log",
    benchmark:
        "results/benchmarks/figure_distributions.tsv"
    conda:
        "../envs/cardioseg.yaml"
    params:
        methods=methods.reported(),
        code=code("figure_distributions.py"),
    script:
        "../workflow_scripts/figure_distributions.py"


rule figure_worst:
    input:
        metrics="results/metrics.csv",
        images=target_files("image", EVALUATED),
        labels=target_files("labels", EVALUATED),
        masks=expand(f"results/masks/{FINAL.name}/{{patient}}.nii.gz", patient=EVALUATED),
    output:
        report("results/figures/worst.png", caption="captions/worst.rst", category="Segmentation"),
        "results/figures/worst.svg",
    log:
        "results/logs/figure_worst.log",
    benchmark:
        "results/benchmarks/figure_worst.tsv"
    conda:
        "../envs/cardioseg.yaml"
    params:
        patients=EVALUATED,
        method=FINAL.name,
        title=FINAL.title,
        worst=3,
        structures=STRUCTURES,
        codes=CODES[TARGET],
        code=code("figure_worst.py"),
    script:
        "../workflow_scripts/figure_worst.py"


rule figure_uncertainty:
    input:
        images=crops(TARGET, SHOWN),
        raw=target_files("image", SHOWN),
        labels=target_files("labels", SHOWN) if EVALUATED else [],
        probabilities=expand("results/probabilities/ensemble/{patient}.nii.gz", patient=SHOWN),
        maps=expand("results/uncertainty/{patient}.nii.gz", patient=SHOWN),
    output:
        report("results/figures/uncertainty.png", caption="captions/uncertainty.rst", category="Segmentation"),
        "results/figures/uncertainty.svg",
    log:
        "results/logs/figure_uncertainty.log",
    benchmark:
        "results/benchmarks/figure_uncertainty.tsv"
    priority: -1  # nothing waits for it
    conda:
        "../envs/cardioseg.yaml"
    params:
        patients=SHOWN,
        members=len(SEEDS),
        title=methods.titles()["ensemble"],
        structures=STRUCTURES,
        codes=CODES[TARGET],
        code=code("figure_uncertainty.py"),
    script:
        "../workflow_scripts/figure_uncertainty.py"
