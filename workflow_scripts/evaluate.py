from itertools import chain

from cardioseg.core import volumes
from cardioseg.evaluation import patient
from cardioseg.evaluation.measures import COLUMNS
from support.job import job

with job(snakemake):
    params = snakemake.params
    raw = volumes.read_image(snakemake.input.raw)
    truth = volumes.read_labels(snakemake.input.labels, params.codes, raw)
    missing = ((folder, None) for folder in params.unavailable)
    made = (
        (folder, volumes.read_labels(path, params.structures, raw).array)
        for folder, path in zip(params.models, snakemake.input.masks, strict=True)
    )
    table = patient.evaluate(chain(missing, made), truth.array, raw.spacing, list(params.structures), params.clinical)
    table = table.assign(split=params.split, patient=snakemake.wildcards.patient)[COLUMNS]
    table.to_csv(snakemake.output[0], index=False, float_format="%.6f", na_rep="N/A")
