from torch import nn

from cardioseg.core import volumes
from cardioseg.inference import raw_labels, views
from cardioseg.segmentation import cascade
from support.computing import compute
from support.job import job

with job(snakemake):
    settings, structures = snakemake.params.settings, snakemake.params.structures
    device = compute(snakemake, "prediction")
    raw, image = volumes.read_image(snakemake.input.raw), volumes.read(snakemake.input.image)
    classes = 1 + len(structures)
    both = cascade.load(settings, classes, snakemake.input.unet_ft, snakemake.input.cascade)
    networks: list[nn.Module] = [both]
    if snakemake.input.get("unet"):
        networks = [cascade.load_first(settings, classes, snakemake.input.unet), both.first, both]
    predicted = [views.predict(network, image.array, device, settings["views"]) for network in networks]
    volumes.write(snakemake.output.probabilities, predicted[-1], image.affine)
    for probabilities, mask in zip(predicted, snakemake.output.masks, strict=True):
        labels = raw_labels.on_raw_grid(volumes.Volume(probabilities, image.affine), raw)
        volumes.write_labels_like(mask, labels, structures, snakemake.input.raw)
