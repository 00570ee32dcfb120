"""The cascaded U-Net (paper 2.2): U-Net 1 sees the image, U-Net 2 the image and U-Net 1's probabilities."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cardioseg.unet import UNet


def first_network(settings: Mapping[str, Any], classes: int) -> UNet:
    """U-Net 1: one channel, the image."""
    return UNet(1, classes, settings["width"], settings["depth"], "batch", settings["dropout"])


def second_network(settings: Mapping[str, Any], classes: int) -> UNet:
    """U-Net 2: image and the probabilities of every class (5 channels for the heart)."""
    return UNet(1 + classes, classes, settings["width"], settings["depth"], "batch", settings["dropout"])


def image_alone(image: Tensor) -> Tensor:
    """U-Net 1's input: the image as it is."""
    return image


def with_shape_prior(first: nn.Module) -> Callable[[Tensor], Tensor]:
    """U-Net 2's input from an image (n, 1, y, x): the image and the fixed U-Net 1's softmax (n, 1 + classes, y, x)."""
    first.eval().requires_grad_(False)

    def inputs(image: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([image, first(image).softmax(dim=1)], dim=1)

    return inputs


@torch.no_grad()
def predict(
    network: nn.Module, images: np.ndarray, device: torch.device, inputs: Callable[[Tensor], Tensor] = image_alone
) -> np.ndarray:
    """Class probabilities (classes, z, y, x), float32, of slices (z, y, x) in [-1, 1]."""
    network.to(device).eval()
    maps = [
        network(inputs(batch.contiguous(memory_format=torch.channels_last))).float().softmax(dim=1).cpu()
        for batch in torch.from_numpy(images)[:, None].to(device).split(16)
    ]
    return torch.cat(maps).movedim(1, 0).contiguous().numpy()
