from typing import Any

from cardioseg.core import volumes
from cardioseg.inference import postprocessing
from support.patients import each_patient


def postprocess(snakemake: Any) -> None:
    given, made, structures = snakemake.input, snakemake.output, snakemake.params.structures
    image, raw = volumes.read(given.image), volumes.read_image(given.raw)
    settings = postprocessing.Settings.of(snakemake.params.settings, list(structures))
    masks = [
        *(
            (path, {"both": both, "crf": crf, "morphology": morphology})
            for path, both, crf, morphology in zip(given.members, made.both, made.crf, made.morphology, strict=True)
        ),
        (given.ensemble, {"both": made.ensemble}),
    ]
    for path, parts in masks:
        labels = postprocessing.postprocess(volumes.read(path), image, raw, settings, parts)
        for part, mask in parts.items():
            volumes.write_labels_like(mask, labels[part], structures, given.raw)


each_patient(snakemake, postprocess)
