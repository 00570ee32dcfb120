import torch

from cardioseg.core import checkpoints, training_loop, volumes
from cardioseg.core.randomness import derive
from cardioseg.core.turns import Turn
from cardioseg.preprocessing import localisation, resampling
from cardioseg.segmentation import training
from support.computing import training_run
from support.job import job, naming

with job(snakemake):
    settings, classes, seed = snakemake.params.settings, snakemake.params.classes, snakemake.params.seed
    images, labels = [], []
    for path, labels_path, turn in zip(
        snakemake.input.raw, snakemake.input.labels, snakemake.params.turns, strict=True
    ):
        raw = volumes.read_image(path)
        labels.append(volumes.read_labels(labels_path, snakemake.params.codes, raw))
        with naming(path):
            resampled = resampling.to_common_pixels(Turn(*turn).apply(raw), snakemake.params.resampling)
        images.append(volumes.as_stored(resampled))
    torch.manual_seed(derive(seed, "localisation", "weights"))
    network = localisation.network(settings, classes)
    slices, truth = localisation.training_slices(images, labels, settings, classes, network.stride)
    run = training_run(snakemake, "localisation", "localisation", seed, "localisation")
    history = training.fit(network, slices, truth, settings, run)
    training_loop.write_history(snakemake.output.history, history)
    checkpoints.save_weights(snakemake.output.weights, network, settings=settings, iterations=history[-1]["iteration"])
    training_loop.remove_state(run.state_folder)
