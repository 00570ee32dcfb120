import logging
from typing import Any

import numpy as np

from cardioseg.core import volumes
from cardioseg.core.errors import InputError
from cardioseg.inference import fusion, postprocessing, prediction
from cardioseg.segmentation import cascade
from support.computing import compute
from support.patients import each_patient


def predict_source(snakemake: Any) -> None:
    given, params, structures = snakemake.input, snakemake.params, snakemake.params.structures
    device = compute(snakemake, "prediction")
    source, target, crop = volumes.read_image(given.source), volumes.read_image(given.target), volumes.read(given.image)
    networks = [cascade.load_first(params.prediction, 1 + len(structures), path) for path in given.networks]
    members = [prediction.predict(network, crop, params.prediction, device) for network in networks]
    morphology = postprocessing.Morphology.of(params.morphology, list(structures))
    labels = fusion.predicted_labels(members, crop, source, morphology)
    volumes.write_labels_like(snakemake.output.source, labels, structures, given.source)
    try:
        carried = fusion.carry(target, source, labels, params.registration, params.stage, params.seed).array
    except InputError as error:
        # A network's labels may be of no use, which must not end the run: without any, the fusion is the ensemble.
        logging.warning("%s is not used: %s", given.source, error)
        carried = np.zeros(target.array.shape, np.uint8)
    volumes.write_labels_like(snakemake.output.target, carried, structures, given.target)


each_patient(snakemake, predict_source)
