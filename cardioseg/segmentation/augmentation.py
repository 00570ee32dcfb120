"""Random elastic deformation, scaling, rotation, gamma (paper 3.2) and shifts, in batches on the images' device."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cardioseg.core.devices import send
from cardioseg.segmentation import control_points


def augment(
    images: Tensor,
    labels: Tensor,
    settings: Mapping[str, float],
    generator: torch.Generator,
    contraction: Mapping[str, Any] | None = None,
) -> tuple[Tensor, Tensor]:
    """Deform each image with its labels, and change the image's gamma.

    Parameters
    ----------
    images : Tensor of shape (n, 1, y, x)
        Images in [-1, 1].
    labels : Tensor of int, shape (n, y, x), or Tensor of shape (n, maps, y, x)
        Their labels, or several maps of which the labels are the first; no map is interpolated.
    settings : mapping of str to float
        - `rotation_degrees`, `scale` (a fraction), `shift_pixels`, `log_gamma`: the largest change of each kind.
        - `elastic_pixels`: standard deviation of the displacement at the control points.
        - `elastic_spacing_pixels`: distance between the control points.

        If all are 0, nothing changes.
    generator : torch.Generator
        A generator on the CPU, so that the draws are the same on every device.
    contraction : mapping, optional
        Settings of `contract`; None leaves the cavity as it is.

    Returns
    -------
    images : Tensor of shape (n, 1, y, x)
        The changed images.
    labels : Tensor of int, shape (n, y, x)
        The deformed labels.
    """
    height, width = images.shape[-2:]
    sampling = sampling_grid(len(images), (height, width), settings, generator, images.device)
    maps = labels.reshape(len(labels), -1, height, width)
    if contraction:
        sampling = contract(sampling, maps[:, 0], contraction, generator)
    deformed = F.grid_sample(images, sampling, mode="bilinear", padding_mode="border", align_corners=False)
    moved = F.grid_sample(maps.to(images.dtype), sampling, mode="nearest", padding_mode="border", align_corners=False)
    gamma = send(torch.exp(_uniform(len(images), settings["log_gamma"], generator)), images.device)
    brightness = ((deformed + 1) / 2).clamp(0, 1) ** gamma.view(-1, 1, 1, 1)
    return 2 * brightness - 1, moved.reshape(labels.shape).to(labels.dtype)


def sampling_grid(
    count: int, shape: tuple[int, int], settings: Mapping[str, float], generator: torch.Generator, device: torch.device
) -> Tensor:
    """Draw where each output pixel is sampled. Rotation and scaling are about the centre.

    Parameters
    ----------
    count : int
        The number of images.
    shape : tuple of int
        Height and width.
    settings : mapping of str to float
        As in `augment`.
    generator : torch.Generator
        A generator on the CPU.
    device : torch.device
        Where the result is.

    Returns
    -------
    Tensor of shape (n, y, x, 2)
        Positions in the coordinates of grid_sample.
    """
    height, width = shape
    angle = _uniform(count, math.radians(settings["rotation_degrees"]), generator)
    scale = torch.exp(_uniform(count, math.log1p(settings["scale"]), generator))
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    aspect = height / width
    zero = torch.zeros_like(cosine)
    # The rotation is in pixels, because the normalised axes differ in length if the image is not square.
    matrix = torch.stack(
        [torch.stack([cosine, -sine * aspect, zero], 1), torch.stack([sine / aspect, cosine, zero], 1)], 1
    )
    grid = F.affine_grid(send(matrix, device), [count, 1, height, width], align_corners=False)
    control = [math.ceil(length / settings["elastic_spacing_pixels"]) + 1 for length in shape]
    displacement = torch.randn((count, 2, *control), generator=generator) * settings["elastic_pixels"]
    smooth = control_points.spread(send(displacement, device), shape)
    pixels = torch.tensor([2 / width, 2 / height])
    shift = torch.stack([_uniform(count, settings["shift_pixels"], generator) for _ in shape], dim=-1)
    return grid + (smooth.movedim(1, -1) + send(shift[:, None, None], device)) * send(pixels, device)


def contract(sampling: Tensor, labels: Tensor, settings: Mapping[str, Any], generator: torch.Generator) -> Tensor:
    """Narrow or widen the cavity as in another phase of the cardiac cycle; the outside of the wall hardly moves.

    Late enhancement may be imaged in another phase than bSSFP, and a diseased wall may be thicker than all walls in the
    training set.

    Parameters
    ----------
    sampling : Tensor of shape (n, y, x, 2)
        Where each pixel is sampled before the contraction, see `sampling_grid`.
    labels : Tensor of int, shape (n, y, x)
        Labels before any deformation.
    settings : mapping
        The classes `cavity` and `wall`, and `narrowing`: the least and greatest n by which the cavity's radius is
        divided, as 1 + n. Slices without both classes stay as they are.
    generator : torch.Generator
        A generator on the CPU.

    Returns
    -------
    Tensor of shape (n, y, x, 2)
        Where to sample the original images.
    """
    height, width = labels.shape[-2:]
    cavity = labels == settings["cavity"]
    whole = (cavity | (labels == settings["wall"])).float()
    y = torch.arange(height, device=labels.device, dtype=torch.float32).view(1, -1, 1)
    x = torch.arange(width, device=labels.device, dtype=torch.float32).view(1, 1, -1)
    area, inside = whole.sum(dim=(1, 2)).view(-1, 1, 1), cavity.sum(dim=(1, 2)).view(-1, 1, 1)
    centre_y, centre_x = ((whole * axis).sum(dim=(1, 2)).view(-1, 1, 1) / area.clamp(min=1) for axis in (y, x))
    # Radii of circles of the same areas. Up to a tenth beyond the wall's outside, the surroundings move a little.
    inner, outer = (inside / math.pi).sqrt(), 1.1 * (area / math.pi).sqrt()
    low, high = settings["narrowing"]
    narrowing = send((low + (high - low) * torch.rand(len(labels), generator=generator)).view(-1, 1, 1), labels.device)
    narrowing = torch.where((inside > 0) & (area > inside), narrowing, torch.zeros_like(narrowing))
    dx = ((sampling[..., 0] + 1) * width - 1) / 2 - centre_x
    dy = ((sampling[..., 1] + 1) * height - 1) / 2 - centre_y
    radius = torch.hypot(dy, dx)
    narrowed = inner / (1 + narrowing)
    in_wall = inner + (radius - narrowed) * (outer - inner) / (outer - narrowed).clamp(min=1e-3)
    origin = torch.where(radius < narrowed, radius * (1 + narrowing), torch.where(radius < outer, in_wall, radius))
    share = origin / radius.clamp(min=1e-3)
    share = torch.where(narrowing == 0, torch.ones_like(share), share)
    pixels = torch.stack([centre_x + dx * share, centre_y + dy * share], dim=-1)
    return (2 * pixels + 1) / send(torch.tensor([width, height]), labels.device) - 1


def _uniform(count: int, largest: float, generator: torch.Generator) -> Tensor:
    return (2 * torch.rand(count, generator=generator) - 1) * largest
