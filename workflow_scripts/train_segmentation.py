from pathlib import Path

import numpy as np
import torch

from cardioseg import checkpoints, fitting, segmentation, training, unet, volumes
from cardioseg.randomness import derive
from job import job

with job(snakemake):
    settings, classes = snakemake.params.settings, snakemake.params.classes
    torch.set_num_threads(snakemake.config["compute"]["threads"]["segmentation"])
    device = training.device(snakemake.config["compute"]["device"])
    name = Path(snakemake.output.weights).stem
    seed = derive(snakemake.params.seed, "member", int(snakemake.wildcards.seed))
    torch.manual_seed(derive(seed, name, "weights"))
    if snakemake.input.get("first"):
        first = segmentation.first_network(settings, classes)
        checkpoints.load_weights(snakemake.input.first, first)
        first.to(device).eval()
        first.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        network = segmentation.second_network(settings, classes)
        inputs = segmentation.with_shape_prior(unet.fold_batch_norms(first))
    else:
        network = segmentation.first_network(settings, classes)
        inputs = unet.image_alone
    if snakemake.input.get("start"):
        checkpoints.load_weights(snakemake.input.start, network)
    state = Path(f"results/.state/segmentation/seed{snakemake.wildcards.seed}/{name}")
    history = fitting.fit(
        network,
        np.concatenate([volumes.read(path).array for path in snakemake.input.images]),
        np.concatenate([volumes.read(path).array for path in snakemake.input.labels]),
        settings,
        epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        seed=seed,
        name=name,
        device=device,
        state_folder=state,
        identity=training.fingerprint(dict(snakemake.params), snakemake.input),
        inputs=inputs,
    )
    training.write_history(snakemake.output.history, history)
    checkpoints.save_weights(snakemake.output.weights, network, settings=settings, iterations=history[-1]["iteration"])
    training.forget(state)
