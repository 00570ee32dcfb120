from typing import Any

from cardioseg.core import randomness, volumes
from cardioseg.registration import elastix
from support.job import naming
from support.patients import each_patient


def register(snakemake: Any) -> None:
    structures = snakemake.params.structures
    target, source = volumes.read_image(snakemake.input.target), volumes.read_image(snakemake.input.source)
    labels = volumes.read_labels(snakemake.input.labels, snakemake.params.codes, source)
    seed = randomness.derive(snakemake.params.seed, "registration", snakemake.wildcards.patient)
    with naming(f"{snakemake.input.labels} to {snakemake.input.target}"):
        carried = elastix.propagate(target, source, labels, snakemake.params.settings, seed)
    for mask, path in zip(carried.values(), snakemake.output.masks, strict=True):
        volumes.write_labels_like(path, mask, structures, snakemake.input.target)


each_patient(snakemake, register)
