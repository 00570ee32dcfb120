# The baseline without any network: registration carries a patient's own source labels to its target image.
rule register:
    input:
        target=raw_image,
        source=lambda wildcards: volume(SOURCE, wildcards.patient).image,
        labels=lambda wildcards: volume(SOURCE, wildcards.patient).labels,
    output:
        masks=expand("results/masks/{model}/{{patient}}.nii.gz", model=REGISTRATIONS),
    log:
        "results/logs/register/{patient}.log",
    benchmark:
        "results/benchmarks/register/{patient}.tsv"
    priority: -1  # nothing long waits for it
    # Networks that learn from its masks come before what else is inferred of a patient.
    group:
        "registration" if config["self_training"] and config["self_training"]["fused"] else "inference"
    conda:
        "../envs/cardioseg.yaml"
    params:
        settings=section("registration"),
        structures=STRUCTURES,
        codes=CODES[SOURCE],
        seed=config["seed"],
        code=code("register.py"),
    script:
        "../workflow_scripts/register.py"
