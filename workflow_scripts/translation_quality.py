from itertools import zip_longest

import numpy as np

from cardioseg.core import volumes
from cardioseg.preprocessing import resampling
from cardioseg.segmentation import cascade
from cardioseg.translation import quality
from support.computing import compute
from support.job import job

with job(snakemake):
    given, params, structures = snakemake.input, snakemake.params, snakemake.params.structures
    device = compute(snakemake, "prediction")
    source_labels = [volumes.read(path).array for path in given.source_labels]
    source = zip(map(volumes.read, given.source), source_labels, strict=True)
    target = (
        (crop, resampling.read_labels_on_grid(labels, raw, crop, params.codes) if labels else None)
        for path, labels, raw in zip_longest(given.target, given.target_labels, given.target_raw)
        for crop in [volumes.read(path)]
    )
    paths = np.reshape(given.synthetic, (len(params.seeds), len(source_labels), params.samples))
    synthetic = {
        seed: (
            ([volumes.read(path) for path in samples], labels)
            for samples, labels in zip(patients, source_labels, strict=True)
        )
        for seed, patients in zip(params.seeds, paths, strict=True)
    }
    pretrained, finetuned = (
        [cascade.load_first(params.settings, 1 + len(structures), path) for path in networks]
        for networks in (given.unet, given.unet_ft)
    )
    unets = quality.UNets(pretrained, finetuned, device)
    table = quality.measure(
        source,
        target,
        synthetic,
        unets,
        tuple(params.modalities),
        list(structures),
        volumes.unlabelled(params.codes),
    )
    table.to_csv(snakemake.output[0], index=False, float_format="%.6f", na_rep="N/A")
