"""The costly steps as published code runs them: eager, float32, contiguous, nothing shared or left out.

The shipped code is timed against this, and a test compares their losses. MUNIT follows Huang et al., ECCV 2018: each
update encodes again, the discriminators' update draws the generators' whole graph, the generators' update computes
gradients of the discriminators' weights and throws them away, and every iteration waits for the device. The U-Net
follows common practice: loader workers augment slice by slice on the CPU, and prediction takes one slice at a time.

A network is the dictionary of its parameters, named as in the library.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from cardioseg.core import winograd
from cardioseg.segmentation import appearance, augmentation, unet

Network = dict[str, Tensor]


def parameters(module: nn.Module) -> Network:
    """A module's parameters, copied, contiguous, to be trained."""
    return {
        name: value.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
        for name, value in module.named_parameters()
    }


def layers(network: Network, prefix: str) -> range:
    """Indices of a network's layers below a prefix."""
    return range(len({name.removeprefix(prefix).split(".")[0] for name in network if name.startswith(prefix)}))


def convolve(network: Network, name: str, features: Tensor, stride: int = 1) -> Tensor:
    weight, bias = network[f"{name}.weight"], network[f"{name}.bias"]
    margin = (weight.shape[-1] - 1) // 2
    padded = F.pad(features, [margin] * 4, mode="reflect") if margin else features
    return F.conv2d(padded, weight, bias, stride)


def layer_norm(network: Network, name: str, features: Tensor) -> Tensor:
    flat = features.flatten(1)
    mean, std = flat.mean(1).view(-1, 1, 1, 1), flat.std(1).view(-1, 1, 1, 1)
    normalised = (features - mean) / (std + 1e-5)
    return normalised * network[f"{name}.gain"].view(1, -1, 1, 1) + network[f"{name}.shift"].view(1, -1, 1, 1)


def adaptive_norm(features: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """AdaIN by way of batch norm: every sample's channel is a channel of its own."""
    together = features.contiguous().view(1, -1, *features.shape[2:])
    mean, variance = features.new_zeros(together.shape[1]), features.new_ones(together.shape[1])
    normalised = F.batch_norm(together, mean, variance, scale.flatten(), shift.flatten(), training=True)
    return normalised.view_as(features)


def encode_content(network: Network, image: Tensor) -> Tensor:
    features = F.relu(F.instance_norm(convolve(network, "content.stem", image)))
    for level in layers(network, "content.down."):
        features = F.relu(F.instance_norm(convolve(network, f"content.down.{level}", features, 2)))
    for block in layers(network, "content.residual."):
        inner = F.relu(F.instance_norm(convolve(network, f"content.residual.{block}.first", features)))
        features = features + F.instance_norm(convolve(network, f"content.residual.{block}.second", inner))
    return features


def encode_style(network: Network, image: Tensor) -> Tensor:
    features = F.relu(convolve(network, "style.stem", image))
    for level in layers(network, "style.down."):
        features = F.relu(convolve(network, f"style.down.{level}", features, 2))
    return convolve(network, "style.head", F.adaptive_avg_pool2d(features, 1)).flatten(1)


def decode(network: Network, content: Tensor, style: Tensor) -> Tensor:
    hidden = style
    for layer in (0, 2, 4):
        hidden = F.linear(hidden, network[f"decode.adain.{layer}.weight"], network[f"decode.adain.{layer}.bias"])
        hidden = F.relu(hidden) if layer < 4 else hidden
    # For each norm its shift, then its scale.
    parts = iter(hidden.split(content.shape[1], dim=1))
    features = content
    for block in layers(network, "decode.residual."):
        name = f"decode.residual.{block}"
        inner = F.relu(adaptive_norm(convolve(network, f"{name}.first", features), next(parts), next(parts)))
        features = features + adaptive_norm(convolve(network, f"{name}.second", inner), next(parts), next(parts))
    for level in layers(network, "decode.up."):
        enlarged = F.interpolate(features, scale_factor=2.0, mode="nearest")
        features = F.relu(
            layer_norm(network, f"decode.norm.{level}", convolve(network, f"decode.up.{level}", enlarged))
        )
    return torch.tanh(convolve(network, "decode.head", features))


def discriminate(network: Network, image: Tensor) -> list[Tensor]:
    scores = []
    for scale in layers(network, "scales."):
        last = 2 * (len(layers(network, f"scales.{scale}.")) - 1)
        features = image
        for layer in range(0, last, 2):
            features = F.leaky_relu(convolve(network, f"scales.{scale}.{layer}", features, 2), 0.2)
        scores.append(convolve(network, f"scales.{scale}.{last}", features))
        image = F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
    return scores


class Munit:
    """Both domains' networks and their optimisers; `step` is one published iteration."""

    def __init__(self, library: nn.Module, settings: Mapping[str, Any]) -> None:
        self.generators = [parameters(library.source), parameters(library.target)]
        self.discriminators = [parameters(library.source_discriminator), parameters(library.target_discriminator)]
        self.optimisers = [
            torch.optim.Adam(
                [value for network in networks for value in network.values()],
                settings["learning_rate"],
                tuple(settings["betas"]),
                weight_decay=settings["weight_decay"],
            )
            for networks in (self.discriminators, self.generators)
        ]

    def step(
        self, images: tuple[Tensor, Tensor], styles: tuple[tuple[Tensor, Tensor], ...], weights: Mapping[str, float]
    ) -> dict[str, float]:
        """Images of both domains (n, 1, y, x); styles of both domains for each of the two updates. Returns losses."""
        discriminator_loss = self._update_discriminators(images, styles[0], weights)
        losses = self._update_generators(images, styles[1], weights)
        return {"discriminator": discriminator_loss.item(), **{name: loss.item() for name, loss in losses.items()}}

    def _update_discriminators(
        self, images: tuple[Tensor, Tensor], styles: tuple[Tensor, Tensor], weights: Mapping[str, float]
    ) -> Tensor:
        first, second = self.generators
        self.optimisers[0].zero_grad()
        # The style encoders run as well, but their result is not used.
        content = [encode_content(network, image) for network, image in zip(self.generators, images, strict=True)]
        for network, image in zip(self.generators, images, strict=True):
            encode_style(network, image)
        fakes = [decode(first, content[1], styles[0]), decode(second, content[0], styles[1])]
        total: Tensor = torch.zeros((), device=images[0].device)
        for network, real, fake in zip(self.discriminators, images, fakes, strict=True):
            for on_fake, on_real in zip(discriminate(network, fake.detach()), discriminate(network, real), strict=True):
                total = total + on_fake.square().mean() + (on_real - 1).square().mean()
        (weights["adversarial"] * total).backward()
        self.optimisers[0].step()
        return total.detach()

    def _update_generators(
        self, images: tuple[Tensor, Tensor], styles: tuple[Tensor, Tensor], weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        first, second = self.generators
        self.optimisers[1].zero_grad()
        content = [encode_content(network, image) for network, image in zip(self.generators, images, strict=True)]
        own = [encode_style(network, image) for network, image in zip(self.generators, images, strict=True)]
        fakes = [decode(first, content[1], styles[0]), decode(second, content[0], styles[1])]
        again = [encode_content(network, fake) for network, fake in zip(self.generators, fakes, strict=True)]
        style_again = [encode_style(network, fake) for network, fake in zip(self.generators, fakes, strict=True)]
        losses = {
            "adversarial": sum(
                (score - 1).square().mean()
                for network, fake in zip(self.discriminators, fakes, strict=True)
                for score in discriminate(network, fake)
            ),
            "image": sum(
                F.l1_loss(decode(network, code, style), image)
                for network, code, style, image in zip(self.generators, content, own, images, strict=True)
            ),
            "style": sum(F.l1_loss(found, drawn) for found, drawn in zip(style_again, styles, strict=True)),
            "content": F.l1_loss(again[0], content[1]) + F.l1_loss(again[1], content[0]),
            "cycle": F.l1_loss(decode(first, again[1], own[0]), images[0])
            + F.l1_loss(decode(second, again[0], own[1]), images[1]),
        }
        total = sum(weights[name] * loss for name, loss in losses.items())
        total.backward()
        self.optimisers[1].step()
        return {"generator": total.detach(), **{name: loss.detach() for name, loss in losses.items()}}


def warp(image: np.ndarray, labels: np.ndarray, where: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Sample a slice (y, x) and its labels at indices `where` (2, y, x), and change its gamma."""
    deformed = ndimage.map_coordinates(image, where, order=1, mode="nearest")
    moved = ndimage.map_coordinates(labels, where, order=0, mode="nearest")
    return (2 * ((deformed + 1) / 2).clip(0, 1) ** gamma - 1).astype(np.float32), moved


def contracted(
    where: np.ndarray, labels: np.ndarray, settings: Mapping[str, Any], generator: torch.Generator
) -> np.ndarray:
    """The library's contraction of indices (2, y, x) that a slice is sampled at."""
    size = np.array(labels.shape).reshape(2, 1, 1)
    grid = torch.from_numpy(((2 * where + 1) / size - 1)[::-1].transpose(1, 2, 0).astype(np.float32))
    moved = augmentation.contract(grid[None], torch.from_numpy(labels)[None], settings, generator)[0].numpy()
    return ((moved.transpose(2, 0, 1)[::-1] + 1) * size - 1) / 2


class Slices(torch.utils.data.IterableDataset):
    """Endless augmented slices for loader workers; settings as the library's segmentation.

    Published code has neither contraction nor randomised appearance. Where the settings have them, the library's are
    used, on each slice alone.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, settings: Mapping[str, Any]) -> None:
        self.images, self.labels, self.settings = images, labels, settings

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        worker = torch.utils.data.get_worker_info()
        seed = worker.id if worker else 0
        draws, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        while True:
            index = draws.integers(len(self.images))
            where, gamma = self._draw(draws, self.images.shape[1:])
            if narrowing := self.settings.get("contraction"):
                where = contracted(where, self.labels[index], narrowing, generator)
            image, labels = warp(self.images[index], self.labels[index], where, gamma)
            if looks := self.settings.get("appearance"):
                alone = torch.from_numpy(image)[None, None], torch.from_numpy(labels)[None]
                image = appearance.randomise(*alone, looks, generator)[0, 0].numpy()
            yield image, labels

    def _draw(self, draws: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, float]:
        settings = self.settings["augmentation"]
        angle = math.radians(draws.uniform(-1, 1) * settings["rotation_degrees"])
        scale = math.exp(draws.uniform(-1, 1) * math.log1p(settings["scale"]))
        centre = np.array(shape).reshape(2, 1, 1) / 2 - 0.5
        offset = np.indices(shape) - centre
        matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) / scale
        # A smooth field in the field's usual way: noise at every pixel, blurred, brought to its size.
        blurred = [
            ndimage.gaussian_filter(draws.standard_normal(shape), settings["elastic_spacing_pixels"] / 2) for _ in shape
        ]
        elastic = np.stack([field / field.std() for field in blurred]) * settings["elastic_pixels"]
        shift = draws.uniform(-1, 1, (2, 1, 1)) * settings["shift_pixels"]
        where = np.tensordot(matrix, offset, axes=1) + centre + elastic + shift
        return where, math.exp(draws.uniform(-1, 1) * settings["log_gamma"])


def weighted_cross_entropy(scores: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
    truth = F.one_hot(labels, scores.shape[1]).movedim(-1, 1).to(scores.dtype)
    return -(class_weights.view(1, -1, 1, 1) * truth * scores.log_softmax(1)).sum(1).mean()


def edge_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """One convolution a direction, of prediction and of truth."""
    classes = scores.shape[1]
    truth = F.one_hot(labels, classes).movedim(-1, 1).to(scores.dtype)
    horizontal = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=scores.device) / 8
    loss = torch.zeros((), device=scores.device)
    for kernel in (horizontal, horizontal.T):
        filters = kernel.expand(classes, 1, 3, 3)
        difference = F.conv2d(scores.softmax(1), filters, padding=1, groups=classes) - F.conv2d(
            truth, filters, padding=1, groups=classes
        )
        loss = loss + (difference[:, 1:].square().mean((2, 3)) + 1e-12).sqrt().sum(1).mean()
    return loss


def plain(network: nn.Module) -> nn.Module:
    """Make a U-Net of the library, in place, one of torch's own contiguous layers."""
    for module in network.modules():
        if isinstance(module, winograd.Convolution):
            module.__class__ = nn.Conv2d
        elif isinstance(module, unet.Dropout):
            module.__class__ = nn.Dropout
    return network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


@torch.no_grad()
def predict(network: nn.Module, images: np.ndarray, device: torch.device, exactness: str = "float32") -> np.ndarray:
    """Class probabilities (classes, z, y, x) of slices (z, y, x), slice by slice, in float32 whatever is asked for."""
    network.to(device).eval()
    slices = torch.from_numpy(images)[:, None].to(device)
    return np.stack([network(image[None]).softmax(dim=1)[0].cpu().numpy() for image in slices], axis=1)


class UnetTraining:
    """A U-Net of the library, plain, fed by loader workers; `step` is one optimisation step."""

    def __init__(
        self,
        network: nn.Module,
        images: np.ndarray,
        labels: np.ndarray,
        settings: Mapping[str, Any],
        learning_rate: float,
        device: torch.device,
        workers: int,
    ) -> None:
        self.network, self.device, self.settings = plain(network).to(device).train(), device, settings
        self.optimiser = torch.optim.Adam(network.parameters(), learning_rate)
        self.class_weights = torch.tensor(settings["class_weights"], device=device)
        loader = torch.utils.data.DataLoader(
            Slices(images, labels.astype(np.int64), settings),
            settings["batch_size"],
            num_workers=workers,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
        )
        self.batches = iter(loader)

    def step(self) -> float:
        image, truth = next(self.batches)
        image, truth = image[:, None].to(self.device), truth.to(self.device)
        scores = self.network(image)
        loss = weighted_cross_entropy(scores, truth, self.class_weights)
        loss = loss + self.settings["edge_weight"] * edge_loss(scores, truth)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()
