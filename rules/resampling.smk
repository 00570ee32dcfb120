# In-plane to the paper's pixel size; slices stay as they are.
rule resample:
    input:
        raw_image,
    output:
        "results/resampled/{modality}/{patient}.nii.gz",
    params:
        spacing_mm=config["resampling"]["spacing_mm"],
        code=code("resample.py"),
    log:
        "results/logs/resample/{modality}/{patient}.log",
    benchmark:
        "results/benchmarks/resample/{modality}/{patient}.tsv"
    conda:
        "../envs/cardioseg.yaml"
    group:
        "preprocessing"
    script:
        "../workflow_scripts/resample.py"
