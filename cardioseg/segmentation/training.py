"""Fitting a segmentation network to labelled slices with the composite loss, augmented on the device."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cardioseg.core import precision, training_loop
from cardioseg.core.cuda_graphs import RepeatedStep
from cardioseg.core.devices import send
from cardioseg.core.randomness import derive
from cardioseg.segmentation import appearance
from cardioseg.segmentation.augmentation import augment
from cardioseg.segmentation.losses import composite_loss
from cardioseg.segmentation.unet import image_alone


@dataclass(frozen=True)
class PseudoLabelled:
    """Slices that no person has labelled.

    Parameters
    ----------
    images : ndarray of shape (n, y, x)
        Slices in [-1, 1].
    probabilities : ndarray of float32, shape (n, classes, y, x)
        How probable each class is. A pixel where they sum to less than 1 counts less.
    """

    images: np.ndarray
    probabilities: np.ndarray


def fit(
    network: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    settings: Mapping[str, Any],
    run: training_loop.Run,
    *,
    inputs: Callable[[Tensor], Tensor] = image_alone,
    pseudo: PseudoLabelled | None = None,
) -> list[dict[str, float]]:
    """Train a network in place with Adam. The slices are augmented anew in each epoch.

    The training resumes from the run's state, see `training_loop.train`.

    Parameters
    ----------
    network : Module
        From what `inputs` returns to class scores (n, classes, y, x).
    images : ndarray of float32, shape (n, y, x)
        Slices in [-1, 1].
    labels : ndarray of int, shape (n, y, x)
        Their labels.
    settings : mapping
        `epochs`: passes over all slices, each in its own order, where an incomplete batch is filled from the next pass;
        `learning_rate`, the largest one; `schedule`, see `learning_rate_at`; `batch_size`, `precision`, `class_weights`
        (background first), `edge_weight`, `augmentation`; `contraction`, None or see `augmentation.contract`;
        `appearance`, None or see `appearance.randomise`; `averaging`: if above 0, the network ends as the running
        average of its weights, see `training_loop.running_average`.
    run : Run
        Name, seed, device and state of the training.
    inputs : callable
        From augmented images (n, 1, y, x) to what the network sees.
    pseudo : PseudoLabelled, optional
        Further slices. They keep their appearance, since painted scars would hide true ones.

    Returns
    -------
    list of dict
        The history of the loss.

    Raises
    ------
    Preempted, FloatingPointError, InputError
        See `training_loop.train`.
    """
    seed, name, device = run.seed, run.name, run.device
    network.to(device).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), settings["learning_rate"], fused=True)
    average = training_loop.running_average(network, settings["averaging"])
    labelled = len(images)
    if pseudo:
        images, labels = _together(images, labels, pseudo)
    all_images = torch.from_numpy(images)[:, None].to(device)
    all_labels = torch.from_numpy(labels).to(device)
    class_weights = torch.tensor(settings["class_weights"], dtype=torch.float32, device=device)
    count, size = len(images), settings["batch_size"]
    iterations = -(-settings["epochs"] * count // size)

    def update(batch: Tensor, truth: Tensor) -> dict[str, Tensor]:
        with precision.forward_pass(settings["precision"], device):
            scores = network(inputs(batch))
        scores = precision.at_least_float32(scores)
        loss = composite_loss(scores, truth, class_weights, settings["edge_weight"])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return {"loss": loss.detach()}

    repeated = RepeatedStep(update, [optimiser], device, run.cuda_graphs)

    def step(iteration: int) -> dict[str, Tensor]:
        draws = torch.Generator().manual_seed(derive(seed, name, "draws", iteration))
        # Dropout draws from the device's own generator.
        torch.manual_seed(derive(seed, name, "dropout", iteration))
        chosen = send(_batch(iteration, size, count, derive(seed, name, "order")), device)
        batch, maps = augment(
            all_images[chosen], all_labels[chosen], settings["augmentation"], draws, settings["contraction"]
        )
        seen, truth = (maps[:, 0], maps[:, 1:]) if pseudo else (maps, maps.long())
        if settings["appearance"]:
            randomised = appearance.randomise(batch, seen, settings["appearance"], draws)
            batch = torch.where((chosen < labelled).view(-1, 1, 1, 1), randomised, batch) if pseudo else randomised
        batch = batch.contiguous(memory_format=torch.channels_last)
        learning_rate = learning_rate_at(iteration / iterations, settings["learning_rate"], settings["schedule"])
        losses = repeated(learning_rate, batch, truth)
        if average:
            average.update_parameters(network)
        return losses

    parts: dict[str, training_loop.Stateful] = {"network": network, "optimiser": optimiser}
    if average:
        parts["average"] = average
    with precision.products(settings["precision"]):
        history = training_loop.train(step, parts, iterations, run)
    if average:
        network.load_state_dict(average.module.state_dict())
    network.eval()
    return history


def with_structures(images: np.ndarray, labels: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Keep the slices that have any structure.

    Parameters
    ----------
    images : ndarray of shape (n, y, x)
        Slices.
    labels : ndarray of int, shape (n, y, x)
        Their labels.
    *others : ndarray of shape (n, ...)
        What else there is of them.

    Returns
    -------
    tuple of ndarray, each of shape (kept, ...)
        The images, labels and others of these slices.
    """
    kept = labels.any(axis=(1, 2))
    return tuple(maps[kept] for maps in (images, labels, *others))


def _together(images: np.ndarray, labels: np.ndarray, pseudo: PseudoLabelled) -> tuple[np.ndarray, np.ndarray]:
    """All images (n, y, x), and for each the labels and the probability of each class: (n, 1 + classes, y, x)."""
    certain = labels[:, None] == np.arange(pseudo.probabilities.shape[1]).reshape(1, -1, 1, 1)
    probabilities = np.concatenate([certain, pseudo.probabilities], dtype=np.float32)
    most_probable = np.concatenate([labels, pseudo.probabilities.argmax(axis=1)], dtype=np.float32)
    return np.concatenate([images, pseudo.images]), np.concatenate([most_probable[:, None], probabilities], axis=1)


def learning_rate_at(progress: float, largest: float, schedule: str) -> float:
    """Return the learning rate after a part of a training.

    Parameters
    ----------
    progress : float
        The share of the training that is done, in [0, 1].
    largest : float
        The largest learning rate.
    schedule : one of 'constant', 'cosine'
        Its course; `cosine` leads from the largest down to 0 along half a wave.

    Returns
    -------
    float
        The learning rate.

    References
    ----------
    I. Loshchilov, F. Hutter: SGDR: stochastic gradient descent with warm restarts, ICLR 2017.
    """
    return largest * (1 + math.cos(math.pi * progress)) / 2 if schedule == "cosine" else largest


def _batch(iteration: int, size: int, count: int, seed: int) -> Tensor:
    """Indices (size,) of a step's slices: the iteration-th stretch of the endless row of shuffled epochs."""
    first = iteration * size
    orders: dict[int, Tensor] = {}
    chosen = []
    for position in range(first, first + size):
        epoch = position // count
        if epoch not in orders:
            orders[epoch] = torch.randperm(count, generator=torch.Generator().manual_seed(derive(seed, epoch)))
        chosen.append(orders[epoch][position % count])
    return torch.stack(chosen)
