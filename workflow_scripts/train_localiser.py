import torch

from cardioseg.core import checkpoints, training_loop, volumes
from cardioseg.core.randomness import derive
from cardioseg.preprocessing import localisation
from cardioseg.segmentation import training
from support.computing import training_run
from support.job import job

with job(snakemake):
    settings, structures, seed = snakemake.params.settings, snakemake.params.structures, snakemake.params.seed
    images = [volumes.read(path) for path in snakemake.input.images]
    labels = [
        volumes.read_labels(path, snakemake.params.codes, volumes.read_image(raw))
        for path, raw in zip(snakemake.input.labels, snakemake.input.raw, strict=True)
    ]
    torch.manual_seed(derive(seed, "localisation", "weights"))
    network = localisation.network(settings, 1 + len(structures))
    slices, truth = localisation.training_slices(images, labels, settings, 1 + len(structures), network.stride)
    run = training_run(snakemake, "localisation", "localisation", seed, "localisation")
    history = training.fit(network, slices, truth, settings, run)
    training_loop.write_history(snakemake.output.history, history)
    checkpoints.save_weights(snakemake.output.weights, network, settings=settings, iterations=history[-1]["iteration"])
    training_loop.remove_state(run.state_folder)
