from pathlib import Path
from typing import Any

from cardioseg.phantoms import heart
from support.patients import each_patient


def draw_phantom(snakemake: Any) -> None:
    patient, params = int(snakemake.wildcards.patient), snakemake.params
    heart.write_patient(Path("results/phantom"), patient, params.seed, modalities=params.modalities)


each_patient(snakemake, draw_phantom)
