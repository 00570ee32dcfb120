"""Where and how fast scripts compute: device, threads and the states of trainings, all from the configuration."""

from pathlib import Path
from typing import Any

import torch

from cardioseg.core import devices, training_loop


def compute(snakemake: Any, step: str) -> torch.device:
    """Set the number of threads of a step (a key of `compute.threads`) and return the device to compute on."""
    settings = snakemake.config["compute"]
    torch.set_num_threads(settings["threads"][step])
    return devices.choose(settings["device"])


def training_run(snakemake: Any, step: str, name: str, seed: int, folder: str) -> training_loop.Run:
    """Describe a script's training: its state lies below results/.state, identified by its parameters and inputs."""
    identity = training_loop.fingerprint(dict(snakemake.params), snakemake.input)
    state, graphs = Path("results/.state") / folder, snakemake.config["compute"]["cuda_graphs"]
    return training_loop.Run(name, seed, compute(snakemake, step), state, identity, graphs)
