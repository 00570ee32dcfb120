import logging
from collections.abc import Sequence

import numpy as np
from torch import nn

from cardioseg.core import checkpoints, volumes
from cardioseg.preprocessing import resampling
from cardioseg.segmentation import cascade
from cardioseg.translation import quality
from support.computing import compute
from support.job import job

with job(snakemake):
    files, structures, seeds = snakemake.input, snakemake.params.structures, snakemake.params.seeds
    device = compute(snakemake, "prediction")

    def load(paths: Sequence[str]) -> list[nn.Module]:
        networks = [cascade.first_network(snakemake.params.settings, 1 + len(structures)) for _ in paths]
        for network, path in zip(networks, paths, strict=True):
            checkpoints.load_weights(path, network)
        return networks

    def describe(
        images: list[volumes.Volume], labels: np.ndarray, networks: list[nn.Module]
    ) -> list[quality.Described]:
        return quality.describe(images, labels, len(structures), networks, device)

    pretrained, finetuned = load(files.unet), load(files.unet_ft)
    source_labels = [volumes.read(path).array for path in files.source_labels]
    source = [
        describe([volumes.read(path)], labels, pretrained)[0]
        for path, labels in zip(files.source, source_labels, strict=True)
    ]
    target = []
    for index, path in enumerate(files.target):
        image = volumes.read(path)
        labels = np.zeros(image.array.shape, np.uint8)
        if index < len(files.target_labels):
            raw = volumes.read_image(files.target_raw[index])
            raw_labels = volumes.read_labels(files.target_labels[index], structures, raw)
            labels = resampling.labels_on_grid(raw_labels, image, 1 + len(structures))
        target += describe([image], labels, finetuned)
    if len(seeds) == 1:
        logging.warning("one seed: unet_dice of its synthetic images is by the network that was trained on them")
    paths = iter(files.synthetic)
    samples = snakemake.params.samples
    synthetic = {}
    for index, seed in enumerate(seeds):
        # A network that was not trained on this set, where there is one.
        other = finetuned[(index + 1) % len(seeds)]
        synthetic[seed] = [
            describe([volumes.read(next(paths)) for _ in range(samples)], labels, [other]) for labels in source_labels
        ]
    table = quality.assess(source, target, synthetic, snakemake.params.modalities, list(structures))
    table.to_csv(snakemake.output[0], index=False, float_format="%.6f", na_rep="N/A")
