import numpy as np

from cardioseg.core import checkpoints, volumes
from cardioseg.core.randomness import derive
from cardioseg.translation import munit, training
from support.computing import compute
from support.job import job

with job(snakemake):
    network = munit.Munit(snakemake.params.generator, snakemake.params.discriminator)
    checkpoints.load_weights(snakemake.input.network, network)
    device = compute(snakemake, "prediction")
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
