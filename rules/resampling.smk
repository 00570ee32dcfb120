# Resampling in-plane to the paper's pixel size, stored the way round that most images are. Slices stay as they are.
rule resample:
    input:
        raw_image,
    output:
        "results/resampled/{modality}/{patient}.nii.gz",
    log:
        "results/logs/resample/{modality}/{patient}.log",
    benchmark:
        "results/benchmarks/resample/{modality}/{patient}.tsv"
    group:
        "resampling"
    conda:
        "../envs/cardioseg.yaml"
    params:
        settings=section("resampling"),
        turn=turn,
        code=code("resample.py"),
    script:
        "../workflow_scripts/resample.py"
