# Every volume is resampled in-plane to the paper's pixel size, stored the way round that most images are, then cropped
# around the heart, which the coarse network finds, and normalised. Slices stay as they are.
ruleorder: crop_labelled > crop


rule crop:
    input:
        raw=lambda wildcards: [raw_image(wildcards)],
        weights="results/localisation/network.pt",
    output:
        resampled=["results/resampled/{modality}/{patient}.nii.gz"],
        locations=["results/located/{modality}/{patient}.json"],
        images=["results/cropped/{modality}/{patient}.nii.gz"],
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
        resampling=section("resampling"),
        localisation=section("localisation"),
        cropping=section("cropping"),
        turns=lambda wildcards: [turn(wildcards.modality, wildcards.patient)],
        codes=CODES[SOURCE],
        classes=1 + len(STRUCTURES),
        code=code("crop.py"),
    script:
        "../workflow_scripts/crop.py"


# With their labels. They are cropped together: whatever changes one of them changes the localiser, and so all others.
use rule crop as crop_labelled with:
    input:
        raw=[volume(SOURCE, patient).image for patient in SPLITS["labelled"]],
        labels=[volume(SOURCE, patient).labels for patient in SPLITS["labelled"]],
        weights="results/localisation/network.pt",
    output:
        resampled=expand(f"results/resampled/{SOURCE}/{{patient}}.nii.gz", patient=SPLITS["labelled"]),
        locations=expand(f"results/located/{SOURCE}/{{patient}}.json", patient=SPLITS["labelled"]),
        images=crops(SOURCE, SPLITS["labelled"]),
        labels=crop_labels(SPLITS["labelled"]),
    log:
        "results/logs/crop_labelled.log",
    benchmark:
        "results/benchmarks/crop_labelled.tsv"
    params:
        resampling=section("resampling"),
        localisation=section("localisation"),
        cropping=section("cropping"),
        turns=[turn(SOURCE, patient) for patient in SPLITS["labelled"]],
        codes=CODES[SOURCE],
        classes=1 + len(STRUCTURES),
        code=code("crop.py"),
