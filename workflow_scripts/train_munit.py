from pathlib import Path

import numpy as np
import torch

from cardioseg import checkpoints, training, translation, volumes
from job import job

with job(snakemake):
    settings, seed = snakemake.params.settings, snakemake.params.seed
    torch.set_num_threads(snakemake.config["compute"]["threads"]["translation"])
    slices = [
        np.concatenate([volumes.read(path).array for path in paths])
        for paths in (snakemake.input.source, snakemake.input.target)
    ]
    state = Path("results/.state/translation")
    network, history = translation.train(
        slices[0],
        slices[1],
        settings,
        seed,
        training.device(snakemake.config["compute"]["device"]),
        state,
        training.fingerprint(dict(snakemake.params), snakemake.input),
    )
    training.write_history(snakemake.output.history, history)
    checkpoints.save_weights(snakemake.output.network, network, settings=settings, iterations=settings["iterations"])
    training.forget(state)
