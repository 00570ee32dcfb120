# Crops every volume around the heart, which the coarse network finds, and normalises it. Crops the source's labels too.
rule crop:
    input:
        image="results/resampled/{modality}/{patient}.nii.gz",
        weights="results/localisation/network.pt",
    output:
        location="results/located/{modality}/{patient}.json",
        image="results/cropped/{modality}/{patient}.nii.gz",
    log:
        "results/logs/crop/{modality}/{patient}.log",
    benchmark:
        "results/benchmarks/crop/{modality}/{patient}.tsv"
    group:
        "cropping"
    conda:
        "../envs/cardioseg.yaml"
    threads: threads("prediction")
    params:
        localisation=section("localisation"),
        cropping=section("cropping"),
        classes=1 + len(STRUCTURES),
        code=code("crop.py"),
    script:
        "../workflow_scripts/crop.py"


rule crop_labels:
    input:
        image=f"results/cropped/{SOURCE}/{{patient}}.nii.gz",
        raw=lambda wildcards: volume(SOURCE, wildcards.patient).image,
        labels=lambda wildcards: volume(SOURCE, wildcards.patient).labels,
    output:
        "results/cropped/labels/{patient}.nii.gz",
    log:
        "results/logs/crop_labels/{patient}.log",
    benchmark:
        "results/benchmarks/crop_labels/{patient}.tsv"
    group:
        "cropping"
    conda:
        "../envs/cardioseg.yaml"
    params:
        codes=CODES[SOURCE],
        code=code("crop_labels.py"),
    script:
        "../workflow_scripts/crop_labels.py"
