# Dense CRF per slice on the crop's grid, then 3-D morphology on the raw image's.
rule postprocess:
    input:
        probabilities="results/probabilities/{method}{member}/{patient}.nii.gz",
        image=f"results/cropped/{TARGET}/{{patient}}.nii.gz",
        raw=raw_image,
    output:
        "results/masks/{method}_pp{member}/{patient}.nii.gz",
    log:
        "results/logs/postprocess/{method}{member}/{patient}.log",
    benchmark:
        "results/benchmarks/postprocess/{method}{member}/{patient}.tsv"
    wildcard_constraints:
        method="cascade_ft|ensemble",
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
