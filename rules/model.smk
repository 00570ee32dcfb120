# The trained ensemble as one file, which the command `cardioseg segment` applies to new images, and its description.
# With the U-Nets of the source where these label a patient's own source image.
rule export:
    input:
        localiser="results/localisation/network.pt",
        first=expand(MEMBER_WEIGHTS[0], seed=SEEDS),
        second=expand(MEMBER_WEIGHTS[1], seed=SEEDS),
        labels=crop_labels(SPLITS["labelled"]),
        targets=crops(TARGET, dict.fromkeys([*SPLITS["translation_target"], *SEGMENTED])),
        source=(
            expand("results/segmentation/seed{seed}/unet_pretrained.pt", seed=SEEDS) if "predicted" in FUSED else []
        ),
        cohort="results/cohort/cohort.csv",
        metrics="results/metrics.csv",
    output:
        model="results/model/ensemble.pt",
        card="results/model/MODEL_CARD.md",
    log:
        "results/logs/export.log",
    benchmark:
        "results/benchmarks/export.tsv"
    conda:
        "../envs/cardioseg.yaml"
    params:
        settings={name: section(name) for name in configuration.IMAGE_SECTIONS if name != "segmentation"}
        | {"segmentation": prediction_settings(), "translation": translation_settings()}
        | (
            {"registration": section("registration"), "fusion": section("fusion"), "seed": config["seed"]}
            if "predicted" in FUSED
            else {}
        ),
        source=SOURCE,
        target=TARGET,
        structures=STRUCTURES,
        seeds=SEEDS,
        self_training=config["self_training"],
        repository=str(workflow.basedir),
        code=code("export.py"),
    script:
        "../workflow_scripts/export.py"
