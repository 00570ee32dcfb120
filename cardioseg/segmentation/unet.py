"""The U-Net of paper Fig. 3, with a norm after each convolution and dropout after each concatenation."""

import logging
from collections.abc import Callable
from copy import copy
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from cardioseg.core import precision
from cardioseg.core.winograd import Convolution

log = logging.getLogger(__name__)

# How much is predicted at a time: slices enough to make up for laying out the weights, and of small slices so many that
# they have this number of pixels. More would need much memory.
SLICES_AT_A_TIME, PIXELS_AT_A_TIME = 4, 8 * 96 * 96
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    # One group per channel equals InstanceNorm2d, but keeps the channels-last layout on a CPU.
    "instance": lambda channels: nn.GroupNorm(channels, channels),
}


class Dropout(nn.Dropout):
    """Dropout that draws 16 random bits per element on a CPU, which takes a quarter of the time of torch's own."""

    def forward(self, features: Tensor) -> Tensor:
        if not self.training or not self.p or features.device.type != "cpu":
            return super().forward(features)
        words = torch.empty(-(-features.numel() // 4), dtype=torch.int64)
        draws = words.random_(-(2**63), None).view(torch.int16)[: features.numel()].float()
        kept = draws.ge_(2**16 * self.p - 2**15).div_(1 - self.p).to(features.dtype)
        # The draws are laid out like the features in memory.
        n, channels, y, x = features.shape
        return features * kept.view(n, y, x, channels).movedim(-1, 1)


class UNet(nn.Module):
    """A U-Net from an image (n, inputs, y, x) to class scores (n, classes, y, x); y and x are multiples of `stride`.

    Zero padding keeps the size.

    Parameters
    ----------
    inputs, classes : int
        Numbers of channels of the image and of the scores.
    width : int
        Channels at full resolution, doubled at each halving (64 in Ronneberger et al. 2015).
    depth : int
        Number of times that the resolution is halved (4 in Ronneberger et al. 2015).
    norm : one of 'batch', 'instance'
        The paper has 'batch' for segmentation (Fig. 3) and 'instance' for localisation (3.2).
    dropout : float
        Share of the elements that is set to zero.

    References
    ----------
    O. Ronneberger, P. Fischer, T. Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015.
    """

    def __init__(
        self, inputs: int, classes: int, width: int, depth: int, norm: str = "batch", dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.stride = 2**depth
        channels = [width * 2**level for level in range(depth + 1)]
        normalise = NORMS[norm]
        self.down = nn.ModuleList(
            _double_convolution(before, after, normalise)
            for before, after in zip([inputs, *channels], channels, strict=False)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * low, low, 2, stride=2) for low in channels[-2::-1])
        self.merge = nn.ModuleList(_double_convolution(2 * low, low, normalise) for low in channels[-2::-1])
        self.pool = nn.MaxPool2d(2)
        self.dropout = Dropout(dropout)
        self.head = nn.Conv2d(width, classes, 1)
        for module in self.modules():
            # Without memory (device "meta") there is nothing to fill, and torch would load its compiler to see that.
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if isinstance(module, nn.ConvTranspose2d):
                    # The four pixels that one becomes start as equals. Otherwise a narrow network may use one of them
                    # and leave the rest dead, a checkerboard (Aitken et al. 2017, arXiv:1707.02937).
                    module.weight.data = module.weight.data[:, :, :1, :1].expand_as(module.weight).clone()
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        skipped = []
        features = image
        for level, block in enumerate(self.down):
            features = block(features if level == 0 else self.pool(features))
            skipped.append(features)
        skipped.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            features = merge(self.dropout(torch.cat([skipped.pop(), up(features)], dim=1)))
        return self.head(features)


def image_alone(image: Tensor) -> Tensor:
    """Return an image as it is: U-Net 1's input.

    Parameters
    ----------
    image : Tensor of shape (n, 1, y, x)
        Slices.

    Returns
    -------
    Tensor of shape (n, 1, y, x)
        The same slices.
    """
    return image


@torch.no_grad()
@precision.products("float32")
def predict(network: nn.Module, images: np.ndarray, device: torch.device, exactness: str = "float32") -> np.ndarray:
    """Predict class probabilities.

    Parameters
    ----------
    network : Module
        From slices (n, 1, y, x) to class scores (n, classes, y, x).
    images : ndarray of float32, shape (z, y, x)
        Slices in [-1, 1].
    device : torch.device
        Where the network computes. Where other processes leave a GPU too little memory, the CPU computes instead.
    exactness : one of 'float32', 'tf32', 'bfloat16'
        With 'bfloat16' the factors of products are rounded to it, see `precision.forward_pass`; otherwise they are
        float32.

    Returns
    -------
    ndarray of float32, shape (classes, z, y, x)
        Probabilities that sum to 1 over the classes.
    """
    try:
        return _probabilities(network, images, device, exactness)
    except RuntimeError as error:
        if device.type == "cpu" or "out of memory" not in str(error):
            raise
    log.warning("%s has no memory left for this prediction; the CPU makes it", device)
    torch.cuda.empty_cache()
    return _probabilities(network, images, torch.device("cpu"), exactness)


def _probabilities(network: nn.Module, images: np.ndarray, device: torch.device, exactness: str) -> np.ndarray:
    """Predict class probabilities (classes, z, y, x) on a device."""
    network.to(device).eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ready = fold_batch_norms(network)
    at_a_time = max(SLICES_AT_A_TIME, PIXELS_AT_A_TIME // (images.shape[1] * images.shape[2]))
    with precision.forward_pass(exactness, device):
        maps = [
            ready(batch.contiguous(memory_format=torch.channels_last)).float().softmax(dim=1).cpu()
            for batch in torch.from_numpy(images)[:, None].to(device).split(at_a_time)
        ]
    return torch.cat(maps).movedim(1, 0).contiguous().numpy()


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Return a copy of a network in evaluation mode whose batch norms are folded into its convolutions.

    Parameters
    ----------
    network : Module
        A network in evaluation mode.

    Returns
    -------
    Module
        A network whose results differ by rounding alone.
    """
    # Each module's copy shares all unchanged tensors with it.
    folded = copy(network)
    folded._modules = {name: fold_batch_norms(child) for name, child in network.named_children()}
    if isinstance(network, nn.Sequential) and isinstance(folded, nn.Sequential):
        for index, (layer, norm) in enumerate(pairwise(network)):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                folded[index], folded[index + 1] = _fold(layer, norm), nn.Identity()
    return folded


def _fold(layer: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A convolution that gives what a convolution and the norm after it give."""
    assert norm.running_mean is not None and norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    folded = copy(layer)
    folded._parameters = {"weight": weight, "bias": bias}
    return folded


def _double_convolution(inputs: int, outputs: int, normalise: Callable[[int], nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        # The norm's shift makes a bias of the convolution unnecessary.
        layers += [Convolution(channels, outputs, bias=False), normalise(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
