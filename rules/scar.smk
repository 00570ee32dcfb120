# Scar and the 17 segments, within the final mask of every segmented patient and within the manual one where there is one.
EXAMINATIONS = [f"results/{name}.csv" for name in ("scar", "segments") if config[name]]
EXAMINED = {}
if config["scar"]:
    EXAMINED |= {"scar": "results/scar/{patient}.nii.gz", "scar_picture": "results/scar/{patient}.png"}
if config["segments"]:
    EXAMINED |= {
        "bulls_eye": report(
            "results/segments/{patient}.png",
            caption="captions/bulls_eye.rst",
            category="Clinical quantities",
            labels={"figure": "bull's-eye", "patient": "{patient}"},
        ),
        "bulls_eye_svg": "results/segments/{patient}.svg",
    }

if EXAMINATIONS:

    rule examine:
        input:
            raw=raw_image,
            mask=f"results/masks/{FINAL.name}/{{patient}}.nii.gz",
            labels=lambda wildcards: volume(TARGET, wildcards.patient).labels or [],
        output:
            **EXAMINED,
            entries="results/examinations/{patient}.json",
        log:
            "results/logs/examine/{patient}.log",
        benchmark:
            "results/benchmarks/examine/{patient}.tsv"
        group:
            "inference"
        conda:
            "../envs/cardioseg.yaml"
        params:
            method=FINAL.name,
            structures=STRUCTURES,
            codes=CODES[TARGET],
            settings={name: section(name) for name in ("clinical", "scar", "segments")},
            code=code("examine.py"),
        script:
            "../workflow_scripts/examine.py"

    rule collect_examinations:
        input:
            expand("results/examinations/{patient}.json", patient=SEGMENTED),
        output:
            [
                report(path, caption=f"captions/{Path(path).stem}.rst", category="Clinical quantities")
                for path in EXAMINATIONS
            ],
        log:
            "results/logs/collect_examinations.log",
        benchmark:
            "results/benchmarks/collect_examinations.tsv"
        conda:
            "../envs/cardioseg.yaml"
        params:
            code=code("collect_examinations.py"),
        script:
            "../workflow_scripts/collect_examinations.py"
