"""The U-Net of paper Fig. 3: vanilla, with a norm after each convolution and dropout after each concatenation."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
}


class Dropout(nn.Dropout):
    """Dropout with uniform random numbers: on a CPU they take half as long to draw as Bernoulli's."""

    def forward(self, features: Tensor) -> Tensor:
        if not self.training or not self.p:
            return features
        kept = torch.rand_like(features, dtype=torch.float32).ge_(self.p).div_(1 - self.p)
        return features * kept.to(features.dtype)


class UNet(nn.Module):
    """Image (n, inputs, y, x) to class scores (n, classes, y, x); y and x are multiples of `stride`.

    width: channels at full resolution, doubled at each of `depth` halvings (64 and 4 in Ronneberger et al. 2015; zero
    padding keeps the size). norm: 'batch' for segmentation (paper Fig. 3), 'instance' for localisation (paper 3.2).
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
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
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
    """U-Net 1's input: the image as it is."""
    return image


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


def _double_convolution(inputs: int, outputs: int, normalise: Callable[[int], nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        # The norm's shift stands in for the convolution's bias.
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), normalise(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
