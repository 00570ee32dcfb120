import json
import logging
from dataclasses import asdict
from pathlib import Path

import torch

from cardioseg.core import checkpoints, devices, volumes
from cardioseg.preprocessing import cropping, localisation
from support.job import job, naming

with job(snakemake):
    settings = snakemake.params.localisation
    torch.set_num_threads(snakemake.config["compute"]["threads"]["prediction"])
    network = localisation.network(settings, snakemake.params.classes)
    checkpoints.load_weights(snakemake.input.weights, network)
    device = devices.choose(snakemake.config["compute"]["device"])
    volume = volumes.read(snakemake.input.image)
    with naming(snakemake.input.image):
        location = localisation.locate(volume, network, settings, network.stride, device)
        cropped = cropping.crop_and_normalise(volume, location.centre, snakemake.params.cropping)
    if not location.found:
        logging.warning("%s: no structures found; the crop is centred on the image", snakemake.input.image)
    Path(snakemake.output.location).write_text(json.dumps(asdict(location)))
    volumes.write(snakemake.output.image, cropped.array, cropped.affine)
