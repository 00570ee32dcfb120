# Fuses the ensemble's probabilities with labels of the patient's own source image, registered, and post-processes the
# result. The labels are manual, or predicted by the U-Nets that were trained on source images alone.
if config["fusion"]:
    STAGE = config["fusion"]["stage"]

    rule predict_source:
        input:
            image=f"results/cropped/{SOURCE}/{{patient}}.nii.gz",
            source=lambda wildcards: volume(SOURCE, wildcards.patient).image,
            target=raw_image,
            networks=expand("results/segmentation/seed{seed}/unet_pretrained.pt", seed=SEEDS),
        output:
            source=f"results/predicted/{SOURCE}/{{patient}}.nii.gz",
            target=f"results/predicted/{TARGET}/{{patient}}.nii.gz",
        log:
            "results/logs/predict_source/{patient}.log",
        benchmark:
            "results/benchmarks/predict_source/{patient}.tsv"
        group:
            "inference"
        conda:
            "../envs/cardioseg.yaml"
        threads: threads("prediction")
        params:
            prediction=prediction_settings(),
            morphology=section("postprocessing")["morphology"],
            registration=section("registration"),
            stage=STAGE,
            structures=STRUCTURES,
            seed=config["seed"],
            code=code("predict_source.py"),
        script:
            "../workflow_scripts/predict_source.py"

    rule fuse:
        input:
            probabilities="results/probabilities/ensemble/{patient}.nii.gz",
            labels=f"results/masks/{WITNESS}/{{patient}}.nii.gz",
            image=f"results/cropped/{TARGET}/{{patient}}.nii.gz",
            raw=raw_image,
        output:
            probabilities="results/probabilities/fusion/{patient}.nii.gz",
            mask="results/masks/fusion_pp/{patient}.nii.gz",
        log:
            "results/logs/fuse/{patient}.log",
        benchmark:
            "results/benchmarks/fuse/{patient}.tsv"
        group:
            "inference"
        conda:
            "../envs/cardioseg.yaml"
        params:
            fusion=FUSED_BY,
            postprocessing=section("postprocessing"),
            structures=STRUCTURES,
            code=code("fuse.py"),
        script:
            "../workflow_scripts/fuse.py"

    use rule fuse as fuse_predicted with:
        input:
            probabilities="results/probabilities/ensemble/{patient}.nii.gz",
            labels=f"results/predicted/{TARGET}/{{patient}}.nii.gz",
            image=f"results/cropped/{TARGET}/{{patient}}.nii.gz",
            raw=raw_image,
        output:
            probabilities="results/probabilities/fusion_own/{patient}.nii.gz",
            mask="results/masks/fusion_own_pp/{patient}.nii.gz",
        log:
            "results/logs/fuse_predicted/{patient}.log",
        benchmark:
            "results/benchmarks/fuse_predicted/{patient}.tsv"
