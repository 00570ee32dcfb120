"""Training MUNIT (paper 2.1, 3.2) on unpaired slices, and sampling from it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from cardioseg.core import checkpoints, precision, training_loop
from cardioseg.core.devices import send
from cardioseg.core.randomness import derive
from cardioseg.translation import munit


def train(
    source: Sequence[np.ndarray],
    target: Sequence[np.ndarray],
    settings: Mapping[str, Any],
    run: training_loop.Run,
) -> tuple[munit.Munit, list[dict[str, float]]]:
    """Train MUNIT between the slices of two sets of volumes (z, y, x) in [-1, 1].

    settings: `generator`, `discriminator`, `weights`, `iterations`, `batch_size`, `learning_rate`, `betas`,
    `weight_decay`, `decay`, `decay_every`, `precision` (see the module), and two that the published training does not
    have: `shared_start` gives both generators the same initial weights, so that their content codes agree from the
    beginning (a short training may otherwise settle on translations of inverted contrast); `averaging`, see
    `training_loop.running_average`. Returns the networks, averaged, and the losses' history. Resumes from
    the run's state, see `training_loop.train`.
    """
    device = run.device
    torch.manual_seed(derive(run.seed, run.name, "weights"))
    network = munit.Munit(settings["generator"], settings["discriminator"]).to(device)
    if settings["shared_start"]:
        network.target.load_state_dict(network.source.state_dict())
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = training_loop.running_average(network, settings["averaging"])
    generators, discriminators = munit.optimisers(network, settings)
    schedules = [
        torch.optim.lr_scheduler.StepLR(optimiser, settings["decay_every"], settings["decay"])
        for optimiser in (generators, discriminators)
    ]
    images = [torch.from_numpy(np.concatenate(volumes))[:, None].to(device) for volumes in (source, target)]
    style_size = network.source.style_size
    count = settings["batch_size"]

    def step(iteration: int) -> dict[str, Tensor]:
        draws = torch.Generator().manual_seed(derive(run.seed, run.name, "draws", iteration))
        batch = [_batch(slices, count, draws) for slices in images]
        styles = [send(torch.randn(count, style_size, generator=draws), device) for _ in range(4)]
        updates = (munit.Styles(styles[0], styles[1]), munit.Styles(styles[2], styles[3]))
        losses = munit.step(
            network, generators, discriminators, batch[0], batch[1], updates, settings["weights"], settings["precision"]
        )
        for schedule in schedules:
            schedule.step()
        if average:
            average.update_parameters(network)
        return losses

    parts: dict[str, training_loop.Stateful] = {
        "network": network,
        "generators": generators,
        "discriminators": discriminators,
        "generator schedule": schedules[0],
        "discriminator schedule": schedules[1],
    }
    if average:
        parts["average"] = average
    with precision.products(settings["precision"]):
        history = training_loop.train(step, parts, settings["iterations"], run)
    return cast(munit.Munit, average.module) if average else network, history


def load(settings: Mapping[str, Any], path: Path | str) -> munit.Munit:
    """Read the networks of `generator` and `discriminator` from a file. Raises InputError where these do not fit."""
    network = munit.Munit(settings["generator"], settings["discriminator"])
    checkpoints.load_weights(path, network)
    return network


@torch.no_grad()
@precision.products("float32")
def synthesise(network: munit.Munit, images: np.ndarray, styles: np.ndarray, device: torch.device) -> np.ndarray:
    """Render source slices (z, y, x) in [-1, 1] in the target's look: D_l(c_b, s_l), for each style (n, style_size).

    Returns (n, z, y, x).
    """
    network = network.to(device).eval()
    codes = torch.from_numpy(styles).to(device)
    rendered = []
    for image in torch.from_numpy(images)[:, None].to(device):
        content = network.source.content(image[None]).expand(len(codes), -1, -1, -1)
        rendered.append(network.target.decode(content, codes)[:, 0].cpu())
    return torch.stack(rendered, dim=1).numpy()


def sample_styles(network: munit.Munit, seed: int, patient: str, samples: int) -> np.ndarray:
    """Draw style codes (samples, style_size) from N(0, I) for the synthetic images of a patient's source volume."""
    generators = [np.random.default_rng(derive(seed, "synthesis", patient, 1 + sample)) for sample in range(samples)]
    codes = [generator.standard_normal(network.target.style_size) for generator in generators]
    return np.stack(codes).astype(np.float32)


def _batch(slices: Tensor, count: int, draws: torch.Generator) -> Tensor:
    """Random slices, each flipped left to right half of the time."""
    chosen = slices[send(torch.randint(len(slices), (count,), generator=draws), slices.device)]
    flip = send(torch.rand(count, generator=draws), slices.device) < 0.5
    return torch.where(flip.view(-1, 1, 1, 1), chosen.flip(-1), chosen)
