from pathlib import Path

import numpy as np
import torch

from cardioseg.core import checkpoints, devices, training_loop, volumes
from cardioseg.translation import training
from support.job import job

with job(snakemake):
    settings, seed = snakemake.params.settings, snakemake.params.seed
    torch.set_num_threads(snakemake.config["compute"]["threads"]["translation"])
    slices = [
        np.concatenate([volumes.read(path).array for path in paths])
        for paths in (snakemake.input.source, snakemake.input.target)
    ]
    state = Path("results/.state/translation")
    network, history = training.train(
        slices[0],
        slices[1],
        settings,
        seed,
        devices.choose(snakemake.config["compute"]["device"]),
        state,
        training_loop.fingerprint(dict(snakemake.params), snakemake.input),
    )
    training_loop.write_history(snakemake.output.history, history)
    checkpoints.save_weights(snakemake.output.network, network, settings=settings, iterations=settings["iterations"])
    training_loop.forget(state)
