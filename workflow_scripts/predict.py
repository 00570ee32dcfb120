import torch

from cardioseg.core import checkpoints, devices, volumes
from cardioseg.inference import raw_labels
from cardioseg.segmentation import cascade
from cardioseg.segmentation.unet import predict
from support.job import job

with job(snakemake):
    settings, structures = snakemake.params.settings, snakemake.params.structures
    torch.set_num_threads(snakemake.config["compute"]["threads"]["prediction"])
    device = devices.choose(snakemake.config["compute"]["device"])
    raw, image = volumes.read_image(snakemake.input.raw), volumes.read(snakemake.input.image)
    classes = 1 + len(structures)
    unet, unet_ft = cascade.first_network(settings, classes), cascade.first_network(settings, classes)
    cascade_ft = cascade.second_network(settings, classes)
    for network, path in (
        (unet, snakemake.input.unet),
        (unet_ft, snakemake.input.unet_ft),
        (cascade_ft, snakemake.input.cascade_ft),
    ):
        checkpoints.load_weights(path, network)
    predicted = [
        predict(unet, image.array, device),
        predict(unet_ft, image.array, device),
        predict(cascade.Cascade(unet_ft, cascade_ft), image.array, device),
    ]
    volumes.write(snakemake.output.probabilities, predicted[-1], image.affine)
    for probabilities, mask in zip(predicted, snakemake.output.masks, strict=True):
        labels = raw_labels.raw_labels(volumes.Volume(probabilities, image.affine), raw)
        volumes.write_labels_like(mask, labels, structures, snakemake.input.raw)
