import numpy as np

from cardioseg.core import checkpoints, training_loop, volumes
from cardioseg.translation import training
from support.computing import training_run
from support.job import job

with job(snakemake):
    settings, seed = snakemake.params.settings, snakemake.params.seed
    slices = [
        np.concatenate([volumes.read(path).array for path in paths])
        for paths in (snakemake.input.source, snakemake.input.target)
    ]
    run = training_run(snakemake, "translation", "translation", seed, "translation")
    network, history = training.train(slices[0], slices[1], settings, run)
    training_loop.write_history(snakemake.output.history, history)
    checkpoints.save_weights(snakemake.output.network, network, settings=settings, iterations=settings["iterations"])
    training_loop.remove_state(run.state_folder)
