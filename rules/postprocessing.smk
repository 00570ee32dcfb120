# Dense CRF per slice on the grid of the crop, then 3-D morphology on the raw grid; for each seed also each step alone.
rule postprocess:
    input:
        probabilities="results/probabilities/cascade_ft/seed{seed}/{patient}.nii.gz",
        image=f"results/cropped/{TARGET}/{{patient}}.nii.gz",
        raw=raw_image,
    output:
        both="results/masks/cascade_ft_pp/seed{seed}/{patient}.nii.gz",
        crf="results/masks/cascade_ft_crf/seed{seed}/{patient}.nii.gz",
        morphology="results/masks/cascade_ft_morphology/seed{seed}/{patient}.nii.gz",
    log:
        "results/logs/postprocess/seed{seed}/{patient}.log",
    benchmark:
        "results/benchmarks/postprocess/seed{seed}/{patient}.tsv"
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


use rule postprocess as postprocess_ensemble with:
    input:
        probabilities="results/probabilities/ensemble/{patient}.nii.gz",
        image=f"results/cropped/{TARGET}/{{patient}}.nii.gz",
        raw=raw_image,
    output:
        both="results/masks/ensemble_pp/{patient}.nii.gz",
    log:
        "results/logs/postprocess/ensemble/{patient}.log",
    benchmark:
        "results/benchmarks/postprocess/ensemble/{patient}.tsv"
