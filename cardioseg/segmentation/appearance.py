"""Randomised appearance: slices as another sequence or a diseased wall may show them, in batches on the device.

A network that sees one modality in many contrasts learns shapes rather than intensities, and can segment a modality
that it never saw. Late enhancement differs by more than contrast: scars as bright as blood hide part of the wall. So
scars are painted as well.

References
----------
B. Billot et al.: SynthSeg, Med Image Anal 2023.
C. Ouyang et al.: Causality-inspired single-source domain generalization, IEEE Trans Med Imaging 2023.
Z. Su et al.: Rethinking data augmentation for single-source domain generalization, AAAI 2023.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cardioseg.core.devices import send
from cardioseg.segmentation import control_points

KNOTS = 6  # knots of an intensity curve
EDGE_PIXELS = 0.7  # blur of the borders between structures of different curves
BIAS_POINTS = 4  # control points of the bias field along each axis
SECTORS = 48  # sectors in which the wall's inner and outer radius are measured
PARTIAL_VOLUME = 0.05  # share of the wall in a soft mask at which a pixel beside the wall counts as darkened by it
BLUR_REACH = 3  # pixels to either side


def randomise(
    images: Tensor,
    labels: Tensor,
    settings: Mapping[str, Any],
    generator: torch.Generator,
) -> Tensor:
    """Give each slice a random appearance; its labels remain valid.

    Parameters
    ----------
    images : Tensor of shape (n, 1, y, x)
        Slices in [-1, 1].
    labels : Tensor of int, shape (n, y, x)
        Their labels; 0 is background.
    settings : mapping
        - `own_curves`: probability that background and structures have different intensity curves instead of a common
        one.
        - `downward`: by class, background first, the probability that such a curve falls.
        - `nulled`: None, or the settings of `null`.
        - `scar`: None, or the settings of `paint_scars`.
        - `bias`: standard deviation of the logarithm of a smooth field that multiplies intensities.
        - `noise`: largest standard deviation, for intensities from 0 to 1.
        - `blur_pixels`: largest standard deviation of a blur, which half of the slices get.
        - `percentiles`: percentiles of a slice's intensities that become -1 and 1.
    generator : torch.Generator
        A generator on the CPU, so that the draws are the same on every device.

    Returns
    -------
    Tensor of shape (n, 1, y, x)
        Slices in [-1, 1].
    """
    masks = soft_masks(labels, len(settings["downward"]))
    curves = send(draw_curves(len(images), settings, generator), images.device)
    mapped = apply_curves(((images + 1) / 2).clamp(0, 1), curves)
    if settings["nulled"]:
        mapped = null(mapped, masks, settings["nulled"], generator)
    if settings["scar"]:
        mapped = paint_scars(mapped, labels, masks, settings["scar"], generator)
    shown = (masks * mapped).sum(dim=1, keepdim=True)
    shown = shown * bias_field(len(images), images.shape[-2:], settings["bias"], generator, images.device)
    shown = _blurred(shown, settings["blur_pixels"], generator)
    level = torch.rand((len(images), 1, 1, 1), generator=generator) * settings["noise"]
    shown = shown + send(torch.randn(images.shape, generator=generator) * level, images.device)
    return normalise(shown, settings["percentiles"])


def soft_masks(labels: Tensor, classes: int) -> Tensor:
    """Turn labels (n, y, x) into maps (n, classes, y, x) that sum to 1 and are blurred at the borders.

    Parameters
    ----------
    labels : Tensor of int, shape (n, y, x)
        The classes.
    classes : int
        Their number, background included.

    Returns
    -------
    Tensor of shape (n, classes, y, x)
        The maps.
    """
    hard = (labels[:, None] == torch.arange(classes, device=labels.device).view(1, -1, 1, 1)).float()
    return _convolve(hard, send(_gaussian(torch.full((len(labels),), EDGE_PIXELS), 2), labels.device))


def draw_curves(count: int, settings: Mapping[str, Any], generator: torch.Generator) -> Tensor:
    """Draw intensity curves: values (n, classes, KNOTS) at evenly spaced intensities; settings as in `randomise`.

    Parameters
    ----------
    count : int
        The number n of images.
    settings : mapping
        `downward` and `own_curves`.
    generator : Generator
        Where the draws come from.

    Returns
    -------
    Tensor of shape (n, classes, KNOTS)
        The curves.
    """
    downward = torch.tensor(settings["downward"])
    classes = len(downward)
    steps = -torch.log(torch.rand((count, 1 + classes, KNOTS - 1), generator=generator).clamp(min=1e-6))
    curves = F.pad(steps.cumsum(dim=-1), (1, 0))
    blend = torch.rand((count, 1 + classes, 1), generator=generator)
    curves = torch.lerp(torch.linspace(0, 1, KNOTS).expand_as(curves), curves / curves[..., -1:], blend)
    whole, own = curves[:, :1], curves[:, 1:]
    falls = torch.rand((count, classes, 1), generator=generator) < downward.view(1, -1, 1)
    gain = 0.4 + 0.9 * torch.rand((count, classes, 1), generator=generator)
    offset = (1.3 - gain) * torch.rand((count, classes, 1), generator=generator) - 0.15
    own = torch.where(falls, own.flip(-1), own) * gain + offset
    apart = torch.rand((count, 1, 1), generator=generator) < settings["own_curves"]
    return torch.where(apart, own, whole)


def apply_curves(images: Tensor, curves: Tensor) -> Tensor:
    """Map intensities (n, 1, y, x) in [0, 1] by each of the curves; returns (n, classes, y, x).

    Parameters
    ----------
    images : Tensor of shape (n, 1, y, x)
        Images in [0, 1].
    curves : Tensor of shape (n, classes, KNOTS)
        As from `draw_curves`.

    Returns
    -------
    Tensor of shape (n, classes, y, x)
        Each image as each of its curves maps it.
    """
    position = images[:, 0].flatten(1) * (KNOTS - 1)
    knot = position.long().clamp(max=KNOTS - 2)
    rest = (position - knot)[:, None]
    knot = knot[:, None].expand(-1, curves.shape[1], -1)
    low, high = curves.gather(2, knot), curves.gather(2, knot + 1)
    return torch.lerp(low, high, rest).view(len(images), -1, *images.shape[-2:])


def null(mapped: Tensor, masks: Tensor, settings: Mapping[str, Any], generator: torch.Generator) -> Tensor:
    """Darken healthy myocardium to a share of the blood's intensity, as late enhancement nulls it.

    Parameters
    ----------
    mapped : Tensor of shape (n, classes, y, x)
        The slices as the curve of each class shows them.
    masks : Tensor of shape (n, classes, y, x)
        As from `soft_masks`.
    settings : mapping
        - `structure`, `blood`: classes of the wall and of the cavity in it.
        - `share`: least and greatest mean intensity of the wall, relative to the blood's. A wall that is darker than
          the drawn share stays as it is, as does a slice without either.
    generator : torch.Generator
        A generator on the CPU.

    Returns
    -------
    Tensor of shape (n, classes, y, x)
        The slices with a darker wall.
    """
    wall, blood = (_mean(mapped[:, settings[key]], masks[:, settings[key]]) for key in ("structure", "blood"))
    share = send(_between(torch.rand(len(mapped), generator=generator), settings["share"]), mapped.device)
    brighter = (wall > share * blood) & (blood > 0)  # never where one of them is missing
    factor = torch.where(brighter, share * blood / wall, torch.ones_like(wall))
    darkened = mapped.clone()
    darkened[:, settings["structure"]] *= factor.view(-1, 1, 1)
    return darkened


def paint_scars(
    mapped: Tensor, labels: Tensor, masks: Tensor, settings: Mapping[str, Any], generator: torch.Generator
) -> Tensor:
    """Paint one or two scars into the wall of some slices. Slices without a wall stay as they are.

    Where a scar as bright as blood meets blood, nothing may show the wall's border. So scars are painted into the map
    of the wall, before the maps are blended, and beside a scar the other structures lose the darkening that partial
    volume with the wall has left in them.

    Parameters
    ----------
    mapped : Tensor of shape (n, classes, y, x)
        The slices as the curve of each class shows them.
    labels : Tensor of int, shape (n, y, x)
        Their labels.
    masks : Tensor of shape (n, classes, y, x)
        As from `soft_masks`.
    settings : mapping
        - `structure`, `blood`: classes of the wall and of the cavity in it.
        - `probability` that a slice has scars.
        - `half_width_degrees`, `transmurality`, `brightness`: least and greatest half width of the sector, share of the
          wall from the inside outwards, and intensity relative to the blood.
        - `dark_core`: probability of a dark core (microvascular obstruction).
    generator : torch.Generator
        A generator on the CPU.

    Returns
    -------
    Tensor of shape (n, classes, y, x)
        The slices with scars.
    """
    count, device, shape = len(mapped), mapped.device, mapped.shape[-2:]
    wall, blood = labels == settings["structure"], labels == settings["blood"]
    depth, angle, radius = wall_coordinates(wall, wall | blood)
    # A smooth field shifts depth and angle, so that the borders are irregular.
    field = send(torch.randn((count, 2, 9, 9), generator=generator), device)
    field = F.interpolate(field, size=shape, mode="bilinear", align_corners=True)
    depth = depth + 0.15 * field[:, 0]
    texture = send(torch.randn((count, 1, 24, 24), generator=generator), device)
    texture = F.interpolate(texture, size=shape, mode="bilinear", align_corners=True)
    inside = _mean(mapped[:, settings["blood"]], masks[:, settings["blood"]])
    enough = masks[:, settings["blood"]].sum(dim=(1, 2)) > 4  # pixels
    bright = torch.where(enough, inside, torch.full_like(inside, 0.8))
    scarred, covered = mapped[:, settings["structure"]], torch.zeros_like(depth)
    diseased = send(torch.rand(count, generator=generator) < settings["probability"], device)
    for number in range(2):
        draws = send(torch.rand((8, count), generator=generator), device)
        there = diseased if number == 0 else diseased & (draws[0] < 0.4)
        width = torch.deg2rad(_between(draws[1], settings["half_width_degrees"])).view(-1, 1, 1)
        reach = _between(draws[2], settings["transmurality"]).view(-1, 1, 1)
        level = (bright * _between(draws[3], settings["brightness"])).view(-1, 1, 1)
        distance = (angle - (2 * draws[4].view(-1, 1, 1) - 1) * math.pi).abs()
        distance = torch.minimum(distance, 2 * math.pi - distance) + 0.1 * field[:, 1]
        sector = ((width - distance) * radius / 2 + 0.5).clamp(0, 1)
        scar = sector * ((reach - depth) / 0.3 + 0.5).clamp(0, 1)
        core = ((0.6 * width - distance) * radius / 2 + 0.5).clamp(0, 1) * (
            (draws[5].view(-1, 1, 1) * 0.7 * reach - depth) / 0.2 + 0.5
        ).clamp(0, 1)
        core = core * (draws[6] < settings["dark_core"]).view(-1, 1, 1) * (0.4 + 0.5 * draws[7].view(-1, 1, 1))
        painted = level * (1 + 0.15 * texture[:, 0]) * (1 - core)
        share = scar * there.view(-1, 1, 1)
        scarred, covered = torch.lerp(scarred, painted, share), covered + share
    beside = (masks[:, settings["structure"]] / PARTIAL_VOLUME).clamp(max=1) * covered.clamp(max=1)
    shown = _brightened(mapped, masks, beside)
    shown[:, settings["structure"]] = scarred
    return shown


def _brightened(mapped: Tensor, masks: Tensor, where: Tensor) -> Tensor:
    """Raise the structures' maps (n, classes, y, x) to their mean where they are darker, by weights (n, y, x)."""
    mean = (masks * mapped).sum(dim=(2, 3), keepdim=True) / masks.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    brightened = torch.lerp(mapped, torch.maximum(mapped, mean), where[:, None])
    return torch.cat([mapped[:, :1], brightened[:, 1:]], dim=1)


def wall_coordinates(wall: Tensor, whole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute where each pixel lies in a wall, in polar coordinates about the centre of all that it encloses.

    Parameters
    ----------
    wall, whole : Tensor of bool, shape (n, y, x)
        Masks of the wall, and of the wall with what it encloses.

    Returns
    -------
    depth : Tensor of shape (n, y, x)
        0 at the inner border and 1 at the outer; it has no meaning in directions without a wall.
    angle : Tensor of shape (n, y, x)
        In radians.
    radius : Tensor of shape (n, y, x)
        In pixels.
    """
    height, width = wall.shape[-2:]
    y = torch.arange(height, device=wall.device, dtype=torch.float32).view(1, -1, 1)
    x = torch.arange(width, device=wall.device, dtype=torch.float32).view(1, 1, -1)
    mass = whole.float()
    total = mass.sum(dim=(1, 2), keepdim=True).clamp(min=1)
    dy, dx = y - (mass * y).sum(dim=(1, 2), keepdim=True) / total, x - (mass * x).sum(dim=(1, 2), keepdim=True) / total
    radius, angle = torch.hypot(dy, dx), torch.atan2(dy, dx)
    sector = ((angle + math.pi) * (SECTORS / (2 * math.pi))).long().clamp(max=SECTORS - 1).flatten(1)
    within = torch.where(wall, radius, torch.full_like(radius, torch.inf)).flatten(1)
    inner = torch.full((len(wall), SECTORS), torch.inf, device=wall.device).scatter_reduce(1, sector, within, "amin")
    within = torch.where(wall, radius, torch.zeros_like(radius)).flatten(1)
    outer = torch.zeros((len(wall), SECTORS), device=wall.device).scatter_reduce(1, sector, within, "amax")
    inner = torch.minimum(inner, outer)
    low, high = inner.gather(1, sector).view_as(radius), outer.gather(1, sector).view_as(radius)
    return (radius - low) / (high - low).clamp(min=1), angle, radius


def bias_field(
    count: int, shape: Sequence[int], deviation: float, generator: torch.Generator, device: torch.device
) -> Tensor:
    """Draw smooth positive fields (n, 1, y, x), log-normal at their control points.

    Parameters
    ----------
    count : int
        The number n of fields.
    shape : sequence of int
        Their size (y, x) in pixels.
    deviation : float
        The standard deviation of the logarithm at the control points.
    generator : Generator
        Where the draws come from.
    device : torch.device
        Where the fields are wanted.

    Returns
    -------
    Tensor of shape (n, 1, y, x)
        The fields.
    """
    points = torch.randn((count, 1, BIAS_POINTS, BIAS_POINTS), generator=generator) * deviation
    return control_points.spread(send(points, device), shape).exp()


def normalise(images: Tensor, percentiles: Sequence[float]) -> Tensor:
    """Map two percentiles of each image (n, 1, y, x), over every second pixel, to -1 and 1, and clip.

    Parameters
    ----------
    images : Tensor of shape (n, 1, y, x)
        Images.
    percentiles : sequence of float
        The lower and the upper percentile.

    Returns
    -------
    Tensor of shape (n, 1, y, x)
        Images in [-1, 1].
    """
    pixels = images[..., ::2, ::2].flatten(1)
    ranks = [1 + round(share / 100 * (pixels.shape[1] - 1)) for share in percentiles]
    low, high = (pixels.kthvalue(rank, dim=1).values.view(-1, 1, 1, 1) for rank in ranks)
    return (2 * (images - low) / (high - low).clamp(min=1e-3) - 1).clamp(-1, 1)


def _mean(images: Tensor, masks: Tensor) -> Tensor:
    """Mean intensity (n,) of images (n, y, x) in soft masks (n, y, x); not a number in those that are empty."""
    return (masks * images).sum(dim=(1, 2)) / masks.sum(dim=(1, 2))


def _blurred(images: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    draws = torch.rand((2, len(images)), generator=generator)
    deviation = torch.where(draws[0] < 0.5, draws[1] * largest, torch.zeros(1))
    return _convolve(images, send(_gaussian(deviation, BLUR_REACH), images.device))


def _gaussian(deviations: Tensor, reach: int) -> Tensor:
    """Return kernels (n, 2 reach + 1) of standard deviations (n,) in pixels; a deviation of 0 gives the identity."""
    offsets = torch.arange(-reach, reach + 1)
    kernels = torch.exp(-0.5 * (offsets / deviations.clamp(min=1e-3)[:, None]).square())
    return kernels / kernels.sum(dim=1, keepdim=True)


def _convolve(maps: Tensor, kernels: Tensor) -> Tensor:
    """Convolve maps (n, channels, y, x), each image with its kernel along both axes; edge pixels are repeated."""
    reach = kernels.shape[1] // 2
    for axis in (2, 3):
        pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        padded = F.pad(maps, pad, mode="replicate")
        length = maps.shape[axis]
        shifted = [padded.narrow(axis, index, length) for index in range(2 * reach + 1)]
        weights = kernels.T.reshape(2 * reach + 1, -1, 1, 1, 1)
        maps = shifted[0] * weights[0]
        for each, weight in zip(shifted[1:], weights[1:], strict=True):
            maps.addcmul_(each, weight)  # in place, which takes a fifth of the time of a sum
    return maps


def _between(draws: Tensor, limits: Sequence[float]) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * draws
