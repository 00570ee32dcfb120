import torch

from cardioseg import checkpoints, inference, segmentation, training, volumes
from cardioseg.unet import predict
from job import job

with job(snakemake):
    settings, structures = snakemake.params.settings, snakemake.params.structures
    torch.set_num_threads(snakemake.config["compute"]["threads"]["prediction"])
    device = training.device(snakemake.config["compute"]["device"])
    raw, image = volumes.read_image(snakemake.input.raw), volumes.read(snakemake.input.image)
    classes = 1 + len(structures)
    unet, unet_ft = segmentation.first_network(settings, classes), segmentation.first_network(settings, classes)
    cascade_ft = segmentation.second_network(settings, classes)
    for network, path in (
        (unet, snakemake.input.unet),
        (unet_ft, snakemake.input.unet_ft),
        (cascade_ft, snakemake.input.cascade_ft),
    ):
        checkpoints.load_weights(path, network)
    predicted = [
        predict(unet, image.array, device),
        predict(unet_ft, image.array, device),
        predict(segmentation.Cascade(unet_ft, cascade_ft), image.array, device),
    ]
    volumes.write(snakemake.output.probabilities, predicted[-1], image.affine)
    for probabilities, mask in zip(predicted, snakemake.output.masks, strict=True):
        labels = inference.raw_labels(volumes.Volume(probabilities, image.affine), raw)
        volumes.write_labels_like(mask, labels, structures, snakemake.input.raw)
