# If the configuration names no data, the embedded cohort is drawn patient by patient in its modalities. As in the
# release, LGE labels of patients after 5 lie apart, and patients after 35 have no bSSFP or T2 labels.
if config["data"] is None:
    DRAWN = phantom_modalities(COHORT)

    rule phantom:
        output:
            phantom_files("results/phantom", "{patient}", like=6, modalities=DRAWN),
        log:
            "results/logs/phantom/{patient}.log",
        benchmark:
            "results/benchmarks/phantom/{patient}.tsv"
        wildcard_constraints:
            patient="[6-9]|[12][0-9]|3[0-5]",
        group:
            "drawing"
        conda:
            "../envs/cardioseg.yaml"
        params:
            seed=config["seed"],
            modalities=DRAWN,
            code=code("draw_phantom.py"),
        script:
            "../workflow_scripts/draw_phantom.py"

    use rule phantom as phantom_validation with:
        output:
            phantom_files("results/phantom", "{patient}", like=1, modalities=DRAWN),
        wildcard_constraints:
            patient="[1-5]",

    use rule phantom as phantom_unlabelled with:
        output:
            phantom_files("results/phantom", "{patient}", like=36, modalities=DRAWN),
        wildcard_constraints:
            patient="3[6-9]|[4-9][0-9]|[1-9][0-9][0-9]+",
