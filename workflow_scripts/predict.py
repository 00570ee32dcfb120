from typing import Any

from torch import nn

from cardioseg.core import volumes
from cardioseg.inference import prediction, raw_labels, uncertainty
from cardioseg.segmentation import cascade
from support.computing import compute
from support.patients import each_patient


def predict(snakemake: Any) -> None:
    given, made = snakemake.input, snakemake.output
    settings, structures = snakemake.params.settings, snakemake.params.structures
    device, classes = compute(snakemake, "prediction"), 1 + len(snakemake.params.structures)
    raw, image = volumes.read_image(given.raw), volumes.read(given.image)

    def write_mask(path: str, probabilities: volumes.Volume) -> None:
        volumes.write_labels_like(path, raw_labels.on_raw_grid(probabilities, raw), structures, given.raw)

    members, masks = [], iter(made.masks)
    for seed, path in enumerate(made.probabilities):
        both = cascade.load(settings, classes, given.unet_ft[seed], given.cascade[seed])
        networks: list[nn.Module] = [both]
        if given.get("unet"):
            networks = [cascade.load_first(settings, classes, given.unet[seed]), both.first, both]
        for network in networks:
            predicted = volumes.Volume(prediction.predict(network, image, settings, device), image.affine)
            write_mask(next(masks), predicted)
        volumes.write(path, predicted.array, image.affine)
        members.append(predicted.array)
    if made.get("mean"):
        mean = volumes.Volume(raw_labels.mean_probabilities(members), image.affine)
        volumes.write(made.mean, mean.array, image.affine)
        write_mask(made.mask, mean)
        volumes.write(made.uncertainty, uncertainty.maps(members), image.affine)


each_patient(snakemake, predict)
