import logging

import numpy as np

from cardioseg.core import volumes
from cardioseg.inference import fusion, prediction, pseudo_labels, raw_labels
from cardioseg.segmentation import cascade
from support.computing import compute
from support.job import job

with job(snakemake):
    parameters, settings, structures = snakemake.params, snakemake.params.settings, snakemake.params.structures
    device = compute(snakemake, "prediction")
    others = [
        cascade.load(settings, 1 + len(structures), first, second)
        for first, second in zip(snakemake.input.first, snakemake.input.second, strict=True)
    ]
    witnesses = {
        patient: (path, raw)
        for patient, path, raw in zip(parameters.witnessed, snakemake.input.witnesses, snakemake.input.raw, strict=True)
    }
    for patient, image_path, pseudo_path in zip(
        parameters.patients, snakemake.input.images, snakemake.output.pseudo_labels, strict=True
    ):
        image = volumes.read(image_path)
        members = [prediction.predict(network, image, settings, device) for network in others]
        seen = volumes.Volume(raw_labels.mean_probabilities(members), image.affine)
        if patient in witnesses:
            path, raw = witnesses[patient]
            witness = volumes.read_labels(path, structures, volumes.read_image(raw))
            fused = fusion.fuse(seen, witness, parameters.fusion)
            if not fused.used:
                logging.warning("%s: registered labels with a Dice of %.3f are left out", patient, fused.agreement)
            seen = volumes.Volume(fused.probabilities, image.affine)
        probabilities = pseudo_labels.in_one_piece(seen.array) if parameters.keep_largest else seen.array
        if parameters.targets == "labels":
            probabilities = pseudo_labels.most_probable(probabilities)
        volumes.write(pseudo_path, probabilities, image.affine)
        found = np.count_nonzero(probabilities.argmax(axis=0).any(axis=(1, 2)))
        logging.info("%s: %d of %d slices have a structure", patient, found, len(image.array))
