# Fuses the ensemble's probabilities with labels of the patient's own source image, registered, and post-processes the
# result. The labels are manual, or predicted by the U-Nets that were trained on source images alone.
if config["fusion"]:
    STAGE = config["fusion"]["stage"]

    rule segment_source:
        input:
            image=f"results/cropped/{SOURCE}/{{patient}}.nii.gz",
            raw=lambda wildcards: volume(SOURCE, wildcards.patient).image,
            networks=expand("results/segmentation/seed{seed}/unet_pretrained.pt", seed=SEEDS),
        output:
            f"results/predicted/{SOURCE}/{{patient}}.nii.gz",
        log:
            "results/logs/segment_source/{patient}.log",
        benchmark:
            "results/benchmarks/segment_source/{patient}.tsv"
        group:
            "inference"
        conda:
            "../envs/cardioseg.yaml"
        threads: threads("prediction")
        params:
            prediction=prediction_settings(),
            postprocessing=section("postprocessing"),
            structures=STRUCTURES,
            code=code("segment_source.py"),
        script:
            "../workflow_scripts/segment_source.py"

    rule register_predicted:
        input:
            target=raw_image,
            source=lambda wildcards: volume(SOURCE, wildcards.patient).image,
            labels=f"results/predicted/{SOURCE}/{{patient}}.nii.gz",
        output:
            f"results/predicted/{TARGET}/{{patient}}.nii.gz",
        log:
            "results/logs/register_predicted/{patient}.log",
        benchmark:
            "results/benchmarks/register_predicted/{patient}.tsv"
        group:
            "inference"
        conda:
            "../envs/cardioseg.yaml"
        params:
            settings=section("registration"),
            stage=STAGE,
            structures=STRUCTURES,
            seed=config["seed"],
            code=code("register_predicted.py"),
        script:
            "../workflow_scripts/register_predicted.py"

    rule fuse:
        input:
            probabilities="results/probabilities/ensemble/{patient}.nii.gz",
            labels=f"results/masks/{WITNESS}/{{patient}}.nii.gz",
            raw=raw_image,
        output:
            "results/probabilities/fusion/{patient}.nii.gz",
        log:
            "results/logs/fuse/{patient}.log",
        benchmark:
            "results/benchmarks/fuse/{patient}.tsv"
        group:
            "inference"
        conda:
            "../envs/cardioseg.yaml"
        params:
            settings={key: config["fusion"][key] for key in ("blur_mm", "least_agreement", "weight")},
            structures=STRUCTURES,
            code=code("fuse.py"),
        script:
            "../workflow_scripts/fuse.py"

    use rule fuse as fuse_predicted with:
        input:
            probabilities="results/probabilities/ensemble/{patient}.nii.gz",
            labels=f"results/predicted/{TARGET}/{{patient}}.nii.gz",
            raw=raw_image,
        output:
            "results/probabilities/fusion_own/{patient}.nii.gz",
        log:
            "results/logs/fuse_predicted/{patient}.log",
        benchmark:
            "results/benchmarks/fuse_predicted/{patient}.tsv"

    use rule postprocess as postprocess_fusion with:
        input:
            probabilities="results/probabilities/{fusion}/{patient}.nii.gz",
            image=f"results/cropped/{TARGET}/{{patient}}.nii.gz",
            raw=raw_image,
        output:
            both="results/masks/{fusion}_pp/{patient}.nii.gz",
        log:
            "results/logs/postprocess/{fusion}/{patient}.log",
        benchmark:
            "results/benchmarks/postprocess/{fusion}/{patient}.tsv"
        wildcard_constraints:
            fusion="fusion|fusion_own",
