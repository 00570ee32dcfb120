from pathlib import Path

import torch

from cardioseg.core import checkpoints, devices, training_loop, volumes
from cardioseg.core.randomness import derive
from cardioseg.preprocessing import localisation
from cardioseg.segmentation import training
from support.job import job

with job(snakemake):
    settings, structures, seed = snakemake.params.settings, snakemake.params.structures, snakemake.params.seed
    torch.set_num_threads(snakemake.config["compute"]["threads"]["localisation"])
    images = [volumes.read(path) for path in snakemake.input.images]
    labels = [
        volumes.read_labels(path, structures, volumes.read_image(raw))
        for path, raw in zip(snakemake.input.labels, snakemake.input.raw, strict=True)
    ]
    torch.manual_seed(derive(seed, "localisation", "weights"))
    network = localisation.network(settings, 1 + len(structures))
    slices, truth = localisation.training_slices(images, labels, settings, 1 + len(structures), network.stride)
    state = Path("results/.state/localisation")
    history = training.fit(
        network,
        slices,
        truth,
        settings,
        epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        seed=seed,
        name="localisation",
        device=devices.choose(snakemake.config["compute"]["device"]),
        state_folder=state,
        identity=training_loop.fingerprint(dict(snakemake.params), snakemake.input),
    )
    training_loop.write_history(snakemake.output.history, history)
    checkpoints.save_weights(snakemake.output.weights, network, settings=settings, iterations=history[-1]["iteration"])
    training_loop.forget(state)
