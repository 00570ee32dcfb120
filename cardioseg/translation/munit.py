"""MUNIT (Huang et al., ECCV 2018): the networks, their losses, and one iteration of training.

Images are (n, 1, y, x) in [-1, 1]; content codes (n, width * 2**downsamplings, y', x'); style codes (n, style_size).
All that the networks return is float32, under autocast as well.
"""

import math
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cardioseg.core import winograd
from cardioseg.core.precision import forward_pass, full

# Added to the variances. A layer's deviation has its own, 1e-5, so that this one only keeps it from being zero.
_EPSILON, _EPSILON_OF_LAYERS = 1e-5, 1e-30


class LayerNorm(nn.Module):
    """(x - mean) / (std + 1e-5) over a sample, std unbiased; a gain drawn from U(0, 1) and a shift per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.rand(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        return _Norm.apply(features, self.gain.view(1, -1, 1, 1), self.shift.view(1, -1, 1, 1), True)


class Residual(nn.Module):
    """Two 3 x 3 convolutions with instance norm around a shortcut; AdaIN where scales and shifts are given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = winograd.Convolution(channels, channels, padding_mode="reflect")
        self.second = winograd.Convolution(channels, channels, padding_mode="reflect")

    def forward(self, features: Tensor, adain: Tensor | None = None) -> Tensor:
        """adain: (n, 2 convolutions, 2, channels), shift then scale; the norm is plain without it."""
        shaped = F.relu(_instance_norm(self.first(features), None if adain is None else adain[:, 0]))
        return features + _instance_norm(self.second(shaped), None if adain is None else adain[:, 1])


class ContentEncoder(nn.Module):
    """Instance norm removes the contrast, so that the anatomy is left."""

    def __init__(self, width: int, downsamplings: int, residual_blocks: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(downsamplings + 1)]
        self.stem = _convolution(1, width, 7)
        self.down = nn.ModuleList(_convolution(low, high, 4, stride=2) for low, high in pairwise(widths))
        self.residual = nn.ModuleList(Residual(widths[-1]) for _ in range(residual_blocks))

    def forward(self, image: Tensor) -> Tensor:
        features = F.relu(_instance_norm(self.stem(image)))
        for convolution in self.down:
            features = F.relu(_instance_norm(convolution(features)))
        for block in self.residual:
            features = block(features)
        return full(features)


class StyleEncoder(nn.Module):
    """No norm: it would remove the mean and variance that carry the style."""

    def __init__(self, width: int, style_size: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 4 * width, 4 * width]
        self.stem = _convolution(1, width, 7)
        self.down = nn.ModuleList(_convolution(low, high, 4, stride=2) for low, high in pairwise(widths))
        self.head = nn.Conv2d(widths[-1], style_size, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = F.relu(self.stem(image))
        for convolution in self.down:
            features = F.relu(convolution(features))
        return full(self.head(features.mean(dim=(2, 3), keepdim=True)).flatten(1))


class Decoder(nn.Module):
    """Content and style to image; an MLP turns the style into the AdaIN parameters of the residual blocks."""

    def __init__(self, width: int, downsamplings: int, residual_blocks: int, style_size: int, mlp_width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(downsamplings, -1, -1)]
        self.adain = nn.Sequential(
            nn.Linear(style_size, mlp_width),
            nn.ReLU(),
            nn.Linear(mlp_width, mlp_width),
            nn.ReLU(),
            nn.Linear(mlp_width, residual_blocks * 2 * 2 * widths[0]),
        )
        self.residual = nn.ModuleList(Residual(widths[0]) for _ in range(residual_blocks))
        self.up = nn.ModuleList(_convolution(high, low, 5) for high, low in pairwise(widths))
        self.norm = nn.ModuleList(LayerNorm(low) for low in widths[1:])
        self.head = _convolution(width, 1, 7)

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        parameters = self.adain(style).view(len(style), len(self.residual), 2, 2, content.shape[1])
        features = content
        for index, block in enumerate(self.residual):
            features = block(features, parameters[:, index])
        for convolution, norm in zip(self.up, self.norm, strict=True):
            features = F.relu(norm(convolve_enlarged(features, cast(nn.Conv2d, convolution))))
        return torch.tanh(full(self.head(features)))


class Generator(nn.Module):
    """One domain's auto-encoder. 15.007 M parameters in the published configuration with one channel."""

    def __init__(self, width: int, downsamplings: int, residual_blocks: int, style_size: int, mlp_width: int) -> None:
        super().__init__()
        self.style_size = style_size
        self.content = ContentEncoder(width, downsamplings, residual_blocks)
        self.style = StyleEncoder(width, style_size)
        self.decode = Decoder(width, downsamplings, residual_blocks, style_size, mlp_width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


class Discriminator(nn.Module):
    """The same small network at several scales. 8.265 M parameters in the published configuration with one channel."""

    def __init__(self, width: int, layers: int, scales: int) -> None:
        super().__init__()
        widths = [1, *(width * 2**layer for layer in range(layers))]
        self.scales = nn.ModuleList()
        for _ in range(scales):
            parts: list[nn.Module] = []
            for low, high in pairwise(widths):
                parts += [_convolution(low, high, 4, stride=2), nn.LeakyReLU(0.2)]
            self.scales.append(nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 1)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> list[Tensor]:
        judged = []
        for scale in self.scales:
            judged.append(full(scale(image)))
            image = F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
        return judged


def discriminator_loss(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Least squares (Mao et al. 2017): real to 1, fake to 0, summed over the scales."""
    return torch.stack([(a - 1).square().mean() + b.square().mean() for a, b in zip(real, fake, strict=True)]).sum()


def generator_loss(fake: list[Tensor]) -> Tensor:
    """Least squares: fake to 1, summed over the scales."""
    return torch.stack([(judged - 1).square().mean() for judged in fake]).sum()


class Styles(NamedTuple):
    """Random styles of both domains (n, style_size) for one update."""

    source: Tensor
    target: Tensor


class Munit(nn.Module):
    """Both domains' generators and discriminators."""

    def __init__(self, generator: Mapping[str, int], discriminator: Mapping[str, int]) -> None:
        super().__init__()
        self.source, self.target = Generator(**generator), Generator(**generator)
        self.judge_source, self.judge_target = Discriminator(**discriminator), Discriminator(**discriminator)

    def generators(self) -> list[nn.Parameter]:
        return [*self.source.parameters(), *self.target.parameters()]

    def discriminators(self) -> list[nn.Parameter]:
        return [*self.judge_source.parameters(), *self.judge_target.parameters()]


def step(
    munit: Munit,
    optimise_generators: torch.optim.Optimizer,
    optimise_discriminators: torch.optim.Optimizer,
    source: Tensor,
    target: Tensor,
    styles: tuple[Styles, Styles],
    weights: Mapping[str, float],
    precision: str = "float32",
) -> dict[str, Tensor]:
    """One published iteration: the discriminators' update, then the generators', with fresh styles for each.

    source, target: real images (n, 1, y, x). styles: the draws of the two updates. weights: `adversarial`, `image`,
    `style`, `content`, `cycle`. precision: see the module of that name. The generators do not change in between, so
    both updates share the encodings of the real images. Returns the losses, detached.
    """
    forward = partial(forward_pass, precision, source.device)
    with forward():
        content_source, style_source = munit.source.content(source), munit.source.style(source)
        content_target, style_target = munit.target.content(target), munit.target.style(target)

    with torch.no_grad(), forward():
        fake_source = munit.source.decode(content_target, styles[0].source)
        fake_target = munit.target.decode(content_source, styles[0].target)
    with forward():
        scores_source = _judge(munit.judge_source, source, fake_source)
        scores_target = _judge(munit.judge_target, target, fake_target)
    judgement = discriminator_loss(*scores_source) + discriminator_loss(*scores_target)
    optimise_discriminators.zero_grad(set_to_none=True)
    (weights["adversarial"] * judgement).backward()
    optimise_discriminators.step()

    count = len(source)
    # The generators' update needs no gradient of the discriminators' weights.
    frozen = munit.discriminators()
    for parameter in frozen:
        parameter.requires_grad_(False)
    with forward():
        decoded = munit.source.decode(
            torch.cat([content_source, content_target]), torch.cat([style_source, styles[1].source])
        )
        recon_source, fake_source = decoded[:count], decoded[count:]
        decoded = munit.target.decode(
            torch.cat([content_target, content_source]), torch.cat([style_target, styles[1].target])
        )
        recon_target, fake_target = decoded[:count], decoded[count:]
        content_target_again, style_source_again = munit.source.content(fake_source), munit.source.style(fake_source)
        content_source_again, style_target_again = munit.target.content(fake_target), munit.target.style(fake_target)
        judged_source, judged_target = munit.judge_source(fake_source), munit.judge_target(fake_target)
        if weights["cycle"]:
            cycle_source = munit.source.decode(content_source_again, style_source)
            cycle_target = munit.target.decode(content_target_again, style_target)
    for parameter in frozen:
        parameter.requires_grad_(True)
    losses = {
        "adversarial": generator_loss(judged_source) + generator_loss(judged_target),
        "image": F.l1_loss(recon_source, source) + F.l1_loss(recon_target, target),
        "style": F.l1_loss(style_source_again, styles[1].source) + F.l1_loss(style_target_again, styles[1].target),
        "content": F.l1_loss(content_source_again, content_source) + F.l1_loss(content_target_again, content_target),
    }
    if weights["cycle"]:
        losses["cycle"] = F.l1_loss(cycle_source, source) + F.l1_loss(cycle_target, target)
    total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
    optimise_generators.zero_grad(set_to_none=True)
    total.backward()
    optimise_generators.step()
    return {
        "discriminator": judgement.detach(),
        "generator": total.detach(),
        **{k: v.detach() for k, v in losses.items()},
    }


def optimisers(munit: Munit, settings: Mapping[str, Any]) -> tuple[torch.optim.Adam, torch.optim.Adam]:
    """Adam for the generators and for the discriminators, weight decay in the gradient, as published."""

    def adam(parameters: list[nn.Parameter]) -> torch.optim.Adam:
        betas = (settings["betas"][0], settings["betas"][1])
        return torch.optim.Adam(
            parameters, settings["learning_rate"], betas, weight_decay=settings["weight_decay"], fused=True
        )

    return adam(munit.generators()), adam(munit.discriminators())


def convolve_enlarged(features: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Convolve the nearest-neighbour enlargement by 2 of features (n, inputs, y, x), with reflection padding.

    convolution: 5 x 5, with bias. Returns (n, outputs, 2 y, 2 x). Of the 25 taps at a pixel of the enlargement many
    meet one pixel of the features: their weights are summed, which leaves 9, with other sums at even and odd pixels
    (four convolutions, as channels of one). Only the outermost pixels, which reflection treats otherwise, are made from
    the enlargement itself.
    """
    weight, bias = convolution.weight, convolution.bias
    assert bias is not None
    # (x phase, y phase, outputs, inputs, 3, 3) to the channels' order of pixel_shuffle
    kernels = _halved_taps(_halved_taps(weight, -2), -1).permute(2, 1, 0, 3, 4, 5).flatten(0, 2)
    padded = F.pad(features, (1, 1, 1, 1), mode="replicate")
    convolve = winograd.convolve if winograd.pays(features, kernels) else F.conv2d
    convolved = F.pixel_shuffle(convolve(padded, kernels, bias.repeat_interleave(4)), 2)
    for axis, enlargement, margins in ((2, (1, 2), (2, 2, 0, 0)), (3, (2, 1), (0, 0, 2, 2))):
        # What the outermost pixels at both ends see of the enlargement, as images of their own.
        end = features.narrow(axis, features.shape[axis] - 2, 2).flip(axis)
        outer, inner = torch.cat([features.narrow(axis, 0, 2), end]).chunk(2, axis)
        strips = F.interpolate(torch.cat([inner, outer, outer, outer, inner], axis), scale_factor=enlargement)
        outermost = F.conv2d(F.pad(strips, margins, mode="reflect"), weight, bias).squeeze(axis)
        convolved.movedim(axis, 0)[:: convolved.shape[axis] - 1] = outermost.unflatten(0, (2, -1))
    return convolved


def _halved_taps(weight: Tensor, axis: int) -> Tensor:
    """Five taps along an axis of an enlargement by 2 as three of the enlarged (2, ...): for even and odd pixels."""
    first, second, third, fourth, fifth = weight.unbind(axis)
    even = torch.stack([first + second, third + fourth, fifth], axis)
    odd = torch.stack([first, second + third, fourth + fifth], axis)
    return torch.stack([even, odd])


def _judge(judge: Discriminator, real: Tensor, fake: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    both = judge(torch.cat([real, fake]))
    return [scores[: len(real)] for scores in both], [scores[len(real) :] for scores in both]


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, padding_mode="reflect")


def _instance_norm(features: Tensor, adain: Tensor | None = None) -> Tensor:
    """Instance norm; with adain (n, 2, channels) its shift and scale applied (AdaIN, Huang & Belongie 2017)."""
    shift, scale = (None, None) if adain is None else adain[..., None, None].unbind(1)
    return _Norm.apply(features, scale, shift, False)


def _standardise(features: Tensor, layer: bool) -> tuple[Tensor, Tensor]:
    """(x - mean) / deviation of each channel of a sample or, of a `layer`, of all of it; and 1 / deviation.

    A GPU's group norm takes no channels last, and torch's moments of channels last are slow on a CPU.
    """
    return (_by_group_norm if features.device.type == "cpu" else _by_moments)(features, layer)


def _by_group_norm(features: Tensor, layer: bool) -> tuple[Tensor, Tensor]:
    count, channels, *size = features.shape
    # A group for each channel: on a CPU, unlike instance_norm, it keeps the channels-last layout.
    groups, epsilon = (1, _EPSILON_OF_LAYERS) if layer else (channels, _EPSILON)
    normalised, _, inverse = torch.native_group_norm(
        features, None, None, count, channels, math.prod(size), groups, epsilon
    )
    return normalised, inverse[:, :, None, None]


def _by_moments(features: Tensor, layer: bool) -> tuple[Tensor, Tensor]:
    axes, epsilon = ((1, 2, 3), _EPSILON_OF_LAYERS) if layer else ((2, 3), _EPSILON)
    variance, mean = torch.var_mean(features, axes, correction=0, keepdim=True)
    inverse = (variance + epsilon).rsqrt()
    return (features - mean) * inverse, inverse


class _Norm(torch.autograd.Function):
    """scale (x - mean) / deviation + shift, for each channel of a sample or, as a `layer`, for all of it.

    scale, shift: (n or 1, channels, 1, 1), or None. The deviation is sqrt(variance + 1e-5); a layer's std + 1e-5,
    unbiased. The gradient is written out: torch's own, of group_norm and std, is many times slower on channels last.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, scale: Tensor | None, shift: Tensor | None, layer: bool) -> Tensor:
        normalised, inverse = _standardise(full(features), layer)
        weight, ratio, damping = scale, None, None
        if layer:  # from 1 / sqrt(variance) to 1 / (std + 1e-5)
            assert scale is not None
            bessel = math.sqrt(1 - 1 / features[0].numel())
            damping = 1 / (1 + 1e-5 * bessel * inverse)
            ratio = bessel * damping
            inverse, weight = inverse * ratio, ratio * scale
        kept = normalised.to(features.dtype)
        ctx.save_for_backward(kept, scale, inverse, ratio, damping)
        return kept if weight is None or shift is None else torch.addcmul(shift, normalised, weight).to(features.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient, (normalised, scale, inverse, ratio, damping) = full(gradients[0]), ctx.saved_tensors
        total, matched = (summed.sum((2, 3), keepdim=True) for summed in (gradient, gradient * normalised))
        weight = inverse if scale is None else inverse * scale
        offset, slope, together = weight * total, weight * matched, gradient[0, 0].numel()
        if damping is not None:
            offset, slope, together = offset.sum(1, True), damping * slope.sum(1, True), gradient[0].numel()
            matched = matched * ratio
        inner = torch.addcmul(offset / -together, normalised, slope / -together).addcmul_(gradient, weight)
        if scale is None:
            return inner, None, None, None
        return inner, matched.sum_to_size(scale.shape), total.sum_to_size(scale.shape), None
