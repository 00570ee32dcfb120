"""The cascaded U-Net (paper 2.2): U-Net 1 sees the image; U-Net 2 sees the image and U-Net 1's probabilities."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cardioseg.core import checkpoints
from cardioseg.segmentation.segresnet import segresnet
from cardioseg.segmentation.unet import UNet


def unet(inputs: int, classes: int, settings: Mapping[str, Any]) -> nn.Module:
    """Make the paper's network (Fig. 3).

    Parameters
    ----------
    inputs : int
        The number of input channels.
    classes : int
        The number of classes, background included.
    settings : mapping
        `width`, `depth` and `dropout`.

    Returns
    -------
    Module
        The untrained network.
    """
    return UNet(inputs, classes, settings["width"], settings["depth"], "batch", settings["dropout"])


# By name in the configuration: a function that makes a network from the number of input channels, the number of classes
# and the settings `width`, `depth` and `dropout`. The network maps images whose sides are multiples of 2 ** `depth` to
# class scores (before the softmax) of the same size.
NETWORKS: dict[str, Callable[[int, int, Mapping[str, Any]], nn.Module]] = {"unet": unet, "segresnet": segresnet}


def first_network(settings: Mapping[str, Any], classes: int) -> nn.Module:
    """Make U-Net 1, or the network that `network` names instead; its input is the image.

    Parameters
    ----------
    settings : mapping
        The section `segmentation` of the configuration.
    classes : int
        The number of classes, with the background.

    Returns
    -------
    Module
        The network, untrained: from (n, 1, y, x) to class scores (n, classes, y, x).
    """
    return NETWORKS[settings["network"]](1, classes, settings)


def second_network(settings: Mapping[str, Any], classes: int) -> nn.Module:
    """Make U-Net 2, or the network that `network` names instead.

    Its input is the image and the probabilities of every class (5 channels for the heart).

    Parameters
    ----------
    settings : mapping
        As in `first_network`.
    classes : int
        As in `first_network`.

    Returns
    -------
    Module
        The network, untrained: from (n, 1 + classes, y, x) to class scores (n, classes, y, x).
    """
    return NETWORKS[settings["network"]](1 + classes, classes, settings)


def with_shape_prior(first: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function that makes U-Net 2's input from an image (n, 1, y, x).

    Its result is the image and the softmax of the fixed U-Net 1, (n, 1 + classes, y, x).

    Parameters
    ----------
    first : Module
        The trained U-Net 1; its weights are fixed from then on.

    Returns
    -------
    callable
        The function.
    """
    first.eval().requires_grad_(False)

    def inputs(image: Tensor) -> Tensor:
        with torch.no_grad():
            return _with_probabilities(first, image)

    return inputs


def _with_probabilities(first: nn.Module, image: Tensor) -> Tensor:
    return torch.cat([image, first(image).softmax(dim=1)], dim=1)


class Cascade(nn.Module):
    """Both networks as one: from slices (n, 1, y, x) to U-Net 2's class scores (n, classes, y, x)."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, image: Tensor) -> Tensor:
        return self.second(_with_probabilities(self.first, image))


def load_first(settings: Mapping[str, Any], classes: int, path: Path | str) -> nn.Module:
    """Make the first network and load its weights.

    Parameters
    ----------
    settings : mapping
        As in `first_network`.
    classes : int
        As in `first_network`.
    path : Path or str
        The file of the weights.

    Returns
    -------
    Module
        The trained network.

    Raises
    ------
    InputError
        The weights are missing or damaged, or do not fit.
    """
    network = first_network(settings, classes)
    checkpoints.load_weights(path, network)
    return network


def load(settings: Mapping[str, Any], classes: int, first: Path | str, second: Path | str) -> Cascade:
    """Make a cascade and load its weights.

    Parameters
    ----------
    settings : mapping
        As in `first_network`.
    classes : int
        As in `first_network`.
    first, second : Path or str
        Files of the weights of both networks.

    Returns
    -------
    Cascade
        The trained cascade.

    Raises
    ------
    InputError
        The weights are missing or damaged, or do not fit.
    """
    network = second_network(settings, classes)
    checkpoints.load_weights(second, network)
    return Cascade(load_first(settings, classes, first), network)
