from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from cardioseg.core import checkpoints, training_loop, volumes
from cardioseg.core.randomness import derive
from cardioseg.segmentation import cascade, training, unet
from support.computing import training_run
from support.job import job


def slices(paths: Sequence[str]) -> np.ndarray:
    return np.concatenate([volumes.read(path).array for path in paths])


with job(snakemake):
    settings, classes = snakemake.params.settings, snakemake.params.classes
    name = Path(snakemake.output.weights).stem
    seed = derive(snakemake.params.seed, "member", int(snakemake.wildcards.seed))
    folder = f"segmentation/seed{snakemake.wildcards.seed}/{name}"
    run = training_run(snakemake, "segmentation", name, seed, folder)
    torch.manual_seed(derive(seed, name, "weights"))
    if snakemake.input.get("first"):
        first = cascade.first_network(settings, classes)
        checkpoints.load_weights(snakemake.input.first, first)
        first.to(run.device).eval()
        first.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        network = cascade.second_network(settings, classes)
        inputs = cascade.with_shape_prior(unet.fold_batch_norms(first))
    else:
        network = cascade.first_network(settings, classes)
        inputs = unet.image_alone
    if snakemake.input.get("start"):
        checkpoints.load_weights(snakemake.input.start, network)
    images, labels = slices(snakemake.input.images), slices(snakemake.input.labels)
    if not settings["empty_slices"]:
        images, labels = training.with_structures(images, labels)
    pseudo = None
    if snakemake.input.get("pseudo_labels"):
        probabilities = np.concatenate([volumes.read(path).array for path in snakemake.input.pseudo_labels], axis=1)
        probabilities = np.moveaxis(probabilities, 1, 0)
        unlabelled = slices(snakemake.input.pseudo_images), probabilities.argmax(axis=1), probabilities
        pseudo_images, _, probabilities = training.with_structures(*unlabelled)
        pseudo = training.PseudoLabelled(pseudo_images, probabilities)
    history = training.fit(network, images, labels, settings, run, inputs=inputs, pseudo=pseudo)
    training_loop.write_history(snakemake.output.history, history)
    checkpoints.save_weights(snakemake.output.weights, network, settings=settings, iterations=history[-1]["iteration"])
    training_loop.remove_state(run.state_folder)
