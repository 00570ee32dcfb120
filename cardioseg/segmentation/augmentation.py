"""Random elastic deformation, scaling, rotation and gamma (paper 3.2), and shifts; batched, on the images' device."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from cardioseg.core.devices import send


def augment(
    images: Tensor, labels: Tensor, settings: Mapping[str, float], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Deform each image with its labels, and change the image's gamma.

    images: (n, 1, y, x) in [-1, 1]; labels: (n, y, x) integers; generator: on the CPU, so that the draws are the same
    on every device. settings: `rotation_degrees`, `scale` (a fraction), `shift_pixels` and `log_gamma` (all largest),
    `elastic_pixels` (standard deviation of the displacement at the control points), `elastic_spacing_pixels` (between
    control points). All zero leaves everything as it is.
    """
    height, width = images.shape[-2:]
    sampling = sampling_grid(len(images), (height, width), settings, generator, images.device)
    deformed = F.grid_sample(images, sampling, mode="bilinear", padding_mode="border", align_corners=False)
    moved = F.grid_sample(
        labels[:, None].to(images.dtype), sampling, mode="nearest", padding_mode="border", align_corners=False
    )
    gamma = send(torch.exp(_uniform(len(images), settings["log_gamma"], generator)), images.device)
    brightness = ((deformed + 1) / 2).clamp(0, 1) ** gamma.view(-1, 1, 1, 1)
    return 2 * brightness - 1, moved[:, 0].to(labels.dtype)


def sampling_grid(
    count: int, shape: tuple[int, int], settings: Mapping[str, float], generator: torch.Generator, device: torch.device
) -> Tensor:
    """Where to sample each output pixel: (n, y, x, 2) on the device, in the coordinates of grid_sample.

    Rotation and scaling are about the centre.
    """
    height, width = shape
    angle = _uniform(count, math.radians(settings["rotation_degrees"]), generator)
    scale = torch.exp(_uniform(count, math.log1p(settings["scale"]), generator))
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    aspect = height / width
    zero = torch.zeros_like(cosine)
    # Rotation in pixels: the normalised axes differ in length where the image is not square.
    matrix = torch.stack(
        [torch.stack([cosine, -sine * aspect, zero], 1), torch.stack([sine / aspect, cosine, zero], 1)], 1
    )
    grid = F.affine_grid(send(matrix, device), [count, 1, height, width], align_corners=False)
    control = [math.ceil(length / settings["elastic_spacing_pixels"]) + 1 for length in shape]
    displacement = torch.randn((count, 2, *control), generator=generator) * settings["elastic_pixels"]
    smooth = F.interpolate(send(displacement, device), size=(height, width), mode="bicubic", align_corners=True)
    pixels = torch.tensor([2 / width, 2 / height])
    shift = torch.stack([_uniform(count, settings["shift_pixels"], generator) for _ in shape], dim=-1)
    return grid + (smooth.movedim(1, -1) + send(shift[:, None, None], device)) * send(pixels, device)


def _uniform(count: int, largest: float, generator: torch.Generator) -> Tensor:
    return (2 * torch.rand(count, generator=generator) - 1) * largest
