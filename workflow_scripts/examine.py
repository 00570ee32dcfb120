import json
from typing import Any

from cardioseg.clinical import examination, scar
from cardioseg.core import files, volumes
from cardioseg.figures import bulls_eye, scar_slices, style
from support.patients import each_patient


def examine(snakemake: Any) -> None:
    given, made, params, patient = snakemake.input, snakemake.output, snakemake.params, snakemake.wildcards.patient
    image = volumes.read_image(given.raw)
    masks = {params.method: volumes.read_labels(given.mask, params.structures, image).array}
    if given.labels:
        masks["manual"] = volumes.read_labels(given.labels, params.codes, image).array
    examined = {
        method: examination.examine(image, labels, list(params.structures), params.settings)
        for method, labels in masks.items()
    }
    entries: list[dict[str, Any]] = [
        {"patient": patient, "method": method, **found.entry()} for method, found in examined.items()
    ]
    files.write_text(made.entries, json.dumps(entries))
    labels, found = masks[params.method], examined[params.method]
    title = "\n".join([f"patient {patient}", *found.scar_notes])
    if params.settings["scar"]:
        marked = found.scar_labels(labels.shape)
        volumes.write_labels_like(made.scar, marked, scar.CODES, given.raw)
        style.save(scar_slices.figure(image, labels, marked, title), [made.scar_picture])
    if params.settings["segments"]:
        style.save(bulls_eye.figure(found.segments, f"patient {patient}"), [made.bulls_eye, made.bulls_eye_svg])


each_patient(snakemake, examine)
