from itertools import chain
from typing import Any

from cardioseg.core import volumes
from cardioseg.evaluation import patient
from support.patients import each_patient


def evaluate(snakemake: Any) -> None:
    params = snakemake.params
    raw = volumes.read_image(snakemake.input.raw)
    truth = volumes.read_labels(snakemake.input.labels, params.codes, raw)
    missing = ((folder, None) for folder in params.unavailable)
    made = (
        (folder, volumes.read_labels(path, params.structures, raw).array)
        for folder, path in zip(params.models, snakemake.input.masks, strict=True)
    )
    found = patient.evaluate(
        chain(missing, made),
        truth.array,
        raw.spacing,
        list(params.structures),
        params.clinical,
        volumes.unlabelled(params.codes),
    ).named(params.split, snakemake.wildcards.patient)
    found.whole.to_csv(snakemake.output.whole, index=False, float_format="%.6f", na_rep="N/A")
    found.thirds.to_csv(snakemake.output.thirds, index=False, float_format="%.6f", na_rep="N/A")


each_patient(snakemake, evaluate)
