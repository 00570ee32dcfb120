# Dense CRF per slice on the grid of the crop, then 3-D morphology on the raw grid; for each seed also each step alone.
rule postprocess:
    input:
        members=expand("results/probabilities/cascade_ft/seed{seed}/{{patient}}.nii.gz", seed=SEEDS),
        ensemble="results/probabilities/ensemble/{patient}.nii.gz",
        image=f"results/cropped/{TARGET}/{{patient}}.nii.gz",
        raw=raw_image,
    output:
        both=expand("results/masks/cascade_ft_pp/seed{seed}/{{patient}}.nii.gz", seed=SEEDS),
        crf=expand("results/masks/cascade_ft_crf/seed{seed}/{{patient}}.nii.gz", seed=SEEDS),
        morphology=expand("results/masks/cascade_ft_morphology/seed{seed}/{{patient}}.nii.gz", seed=SEEDS),
        ensemble="results/masks/ensemble_pp/{patient}.nii.gz",
    log:
        "results/logs/postprocess/{patient}.log",
    benchmark:
        "results/benchmarks/postprocess/{patient}.tsv"
    group:
        "inference"
    conda:
        "../envs/cardioseg.yaml"
    params:
        settings=section("postprocessing"),
        structures=STRUCTURES,
        code=code("postprocess.py"),
    script:
        "../workflow_scripts/postprocess.py"
