# Fuses the ensemble's probabilities with the patient's own source labels, registered, and post-processes the result.
if config["fusion"]:

    rule fuse:
        input:
            probabilities="results/probabilities/ensemble/{patient}.nii.gz",
            labels="results/masks/{}/{{patient}}.nii.gz".format(
                dict(zip(("none", "rigid", "affine", "deformable"), REGISTRATIONS))[config["fusion"]["stage"]]
            ),
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
            settings=section("fusion"),
            structures=STRUCTURES,
            code=code("fuse.py"),
        script:
            "../workflow_scripts/fuse.py"

    use rule postprocess as postprocess_fusion with:
        input:
            probabilities="results/probabilities/fusion/{patient}.nii.gz",
            image=f"results/cropped/{TARGET}/{{patient}}.nii.gz",
            raw=raw_image,
        output:
            both="results/masks/fusion_pp/{patient}.nii.gz",
        log:
            "results/logs/postprocess/fusion/{patient}.log",
        benchmark:
            "results/benchmarks/postprocess/fusion/{patient}.tsv"
