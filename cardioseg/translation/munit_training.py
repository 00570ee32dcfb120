"""Training MUNIT (paper 2.1, 3.2) on unpaired slices, and sampling from it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from cardioseg.core import checkpoints, precision, training_loop
from cardioseg.core.cuda_graphs import RepeatedStep
from cardioseg.core.devices import send
from cardioseg.core.randomness import derive
from cardioseg.translation import munit


def train(
    source: Sequence[np.ndarray],
    target: Sequence[np.ndarray],
    settings: Mapping[str, Any],
    run: training_loop.Run,
) -> tuple[munit.Munit, list[dict[str, float]]]:
    """Train MUNIT between the slices of two sets of volumes.

    The training resumes from the run's state, see `training_loop.train`.

    Parameters
    ----------
    source, target : sequence of ndarray, shape (z, y, x)
        The volumes of each domain, float32 in [-1, 1]. They are not paired.
    settings : mapping
        The configuration's `translation`. Two of its settings are not in the published training: `shared_start` gives
        both generators the same initial weights, so that their content codes agree from the beginning (otherwise a
        short training may settle on translations of inverted contrast), and `averaging` averages the weights, see
        `training_loop.running_average`.
    run : Run
        Name, seed, device and state of the training.

    Returns
    -------
    network : Munit
        The networks, averaged where `averaging` says so.
    history : list of dict
        The losses of `munit.step` as they were recorded during the training.

    Raises
    ------
    Preempted, FloatingPointError, InputError
        See `training_loop.train`.
    """
    device = run.device
    torch.manual_seed(derive(run.seed, run.name, "weights"))
    network = munit.Munit(settings["generator"], settings["discriminator"]).to(device)
    if settings["shared_start"]:
        network.target.load_state_dict(network.source.state_dict())
    network.to(memory_format=layout(device))  # type: ignore[call-overload]
    average = training_loop.running_average(network, settings["averaging"])
    optimisers = munit.make_optimisers(network, settings)
    images = [torch.from_numpy(np.concatenate(volumes))[:, None].to(device) for volumes in (source, target)]
    count, style_size = settings["batch_size"], network.source.style_size

    def update(chosen: Tensor, flipped: Tensor, styles: Tensor) -> dict[str, Tensor]:
        batch = [_take(slices, *which) for slices, *which in zip(images, chosen, flipped, strict=True)]
        updates = (munit.Styles(styles[0], styles[1]), munit.Styles(styles[2], styles[3]))
        return munit.step(network, optimisers, batch[0], batch[1], updates, settings["weights"], settings["precision"])

    repeated = RepeatedStep(update, optimisers, device, run.cuda_graphs)

    def step(iteration: int) -> dict[str, Tensor]:
        draws = torch.Generator().manual_seed(derive(run.seed, run.name, "draws", iteration))
        chosen, flipped = zip(*(_draw(len(slices), count, draws) for slices in images), strict=True)
        styles = [torch.randn(count, style_size, generator=draws) for _ in range(4)]
        learning_rate = settings["learning_rate"] * settings["decay"] ** (iteration // settings["decay_every"])
        losses = repeated(learning_rate, *(send(torch.stack(drawn), device) for drawn in (chosen, flipped, styles)))
        if average:
            average.update_parameters(network)
        return losses

    parts: dict[str, training_loop.Stateful] = {
        "network": network,
        "generators": optimisers.generators,
        "discriminators": optimisers.discriminators,
    }
    if average:
        parts["average"] = average
    with precision.products(settings["precision"]):
        history = training_loop.train(step, parts, settings["iterations"], run)
    return cast(munit.Munit, average.module) if average else network, history


def layout(device: torch.device) -> torch.memory_format:
    """Return how weights lie in memory in a training.

    Parameters
    ----------
    device : torch.device
        Where it computes.

    Returns
    -------
    torch.memory_format
        Channels last on a CPU. A GPU's reflection padding knows only contiguous images, so that other weights would
        cost a copy before and after each padding.
    """
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def load(settings: Mapping[str, Any], path: Path | str) -> munit.Munit:
    """Read trained networks from a file.

    Parameters
    ----------
    settings : mapping
        `generator` and `discriminator` of the configuration's `translation`.
    path : Path or str
        The file.

    Returns
    -------
    Munit
        The networks.

    Raises
    ------
    InputError
        The file is missing or damaged, or its weights do not fit the settings.
    """
    network = munit.Munit(settings["generator"], settings["discriminator"])
    checkpoints.load_weights(path, network)
    return network


@torch.no_grad()
@precision.products("float32")
def synthesise(network: munit.Munit, images: np.ndarray, styles: np.ndarray, device: torch.device) -> np.ndarray:
    """Render a source volume in the target's look, once for each style.

    The target's generator decodes the content of each source slice with the style.

    Parameters
    ----------
    network : Munit
        The trained networks.
    images : ndarray of float32, shape (z, y, x)
        The source volume in [-1, 1].
    styles : ndarray of float32, shape (n, style_size)
        Style codes of the target, as from `sample_styles`.
    device : torch.device
        Where the networks compute.

    Returns
    -------
    ndarray of float32, shape (n, z, y, x)
        The synthetic volumes in [-1, 1].
    """
    network = network.to(device).eval()
    codes = torch.from_numpy(styles).to(device)
    rendered = []
    for image in torch.from_numpy(images)[:, None].to(device):
        content = network.source.content(image[None]).expand(len(codes), -1, -1, -1)
        rendered.append(network.target.decode(content, codes)[:, 0].cpu())
    return torch.stack(rendered, dim=1).numpy()


def sample_styles(network: munit.Munit, seed: int, patient: str, samples: int) -> np.ndarray:
    """Draw style codes from N(0, I) for the synthetic images of a patient's source volume.

    Parameters
    ----------
    network : Munit
        The networks, which know the length of a style code.
    seed : int
        The seed of the synthetic set.
    patient : str
        The patient's name.
    samples : int
        Number of synthetic volumes.

    Returns
    -------
    ndarray of float32, shape (samples, style_size)
        One code per sample. Each depends on seed, patient and its number alone.
    """
    generators = [np.random.default_rng(derive(seed, "synthesis", patient, 1 + sample)) for sample in range(samples)]
    codes = [generator.standard_normal(network.target.style_size) for generator in generators]
    return np.stack(codes).astype(np.float32)


def _draw(total: int, count: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw numbers of slices, and whether each is flipped, which happens half of the time."""
    return torch.randint(total, (count,), generator=draws), torch.rand(count, generator=draws) < 0.5


def _take(slices: Tensor, chosen: Tensor, flipped: Tensor) -> Tensor:
    """Slices (n, 1, y, x) by their numbers (n,), flipped left to right where `flipped` (n,) says so."""
    batch = slices.index_select(0, chosen)
    return torch.where(flipped.view(-1, 1, 1, 1), batch.flip(-1), batch)
