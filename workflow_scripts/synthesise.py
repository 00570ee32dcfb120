import numpy as np
import torch

from cardioseg.core import checkpoints, devices, volumes
from cardioseg.core.randomness import derive
from cardioseg.translation import munit, training
from support.job import job

with job(snakemake):
    torch.set_num_threads(snakemake.config["compute"]["threads"]["prediction"])
    network = munit.Munit(snakemake.params.generator, snakemake.params.discriminator)
    checkpoints.load_weights(snakemake.input.network, network)
    device = devices.choose(snakemake.config["compute"]["device"])
    seed = derive(snakemake.params.seed, "member", int(snakemake.wildcards.seed))
    outputs = iter(snakemake.output)
    for patient, path in zip(snakemake.params.patients, snakemake.input.images, strict=True):
        source = volumes.read(path)
        styles = [
            training.sample_style(network.target.style_size, seed, patient, sample)
            for sample in range(1, snakemake.params.samples + 1)
        ]
        for rendered in training.synthesise(network, source.array, np.stack(styles), device):
            volumes.write(next(outputs), rendered, source.affine)
