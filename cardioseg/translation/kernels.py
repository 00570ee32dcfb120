"""Norms and convolutions in forms that are fast on images with channels last, for the translation network.

They compute what the plain definitions say, up to rounding. On a CPU they save arithmetic and memory traffic. A GPU
gets the forms with the fewest kernels, and cuDNN's own convolutions, which are faster there than fewer multiplications.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cardioseg.core import winograd
from cardioseg.core.precision import at_least_float32

# Added to the variance. A layer norm adds 1e-5 to the deviation instead: its epsilon only avoids a division by 0.
_EPSILON, _EPSILON_OF_LAYERS = 1e-5, 1e-30


def instance_norm(features: Tensor, adain: Tensor | None = None, relu: bool = False) -> Tensor:
    """Normalise each channel of each sample to mean 0 and variance 1; then apply AdaIN's shift and scale, if given.

    Parameters
    ----------
    features : Tensor of shape (n, channels, y, x)
        The features.
    adain : Tensor of shape (n, 2, channels), optional
        Shift and scale of each channel.
    relu : bool
        Whether negative values of the result become 0.

    Returns
    -------
    Tensor of shape (n, channels, y, x)
        The result, of the features' type.

    References
    ----------
    X. Huang, S. Belongie: Arbitrary style transfer in real-time with adaptive instance normalization, ICCV 2017.
    """
    shift, scale = (None, None) if adain is None else at_least_float32(adain).unbind(1)
    if len(features) > 1 and features.device.type != "cpu":
        return _merged_instance_norm(features, scale, shift, relu)
    # Where channels are last in memory, those of several samples cannot be merged without a copy. Nor is a single one
    # reshaped: torch 2.13 then returns a wrong gradient for one with channels first.
    if scale is None or shift is None:
        normalised = [_batch_norm(sample, None, None, relu) for sample in features.split(1)]
    else:
        samples = zip(features.split(1), scale, shift, strict=True)
        normalised = [_batch_norm(*sample, relu) for sample in samples]
    return torch.cat(normalised) if len(normalised) > 1 else normalised[0]


def layer_norm(features: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """Normalise each sample by its mean and its unbiased std + 1e-5, then apply a gain and a shift for each channel.

    Parameters
    ----------
    features : Tensor of shape (n, channels, y, x)
        The features.
    gain, shift : Tensor of shape (channels,)
        By what each channel is multiplied, and what is added to it.

    Returns
    -------
    Tensor of shape (n, channels, y, x)
        The result, of the features' type.
    """
    return _LayerNorm.apply(features, gain.view(1, -1, 1, 1), shift.view(1, -1, 1, 1))


def convolve_enlarged(features: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Convolve the nearest-neighbour enlargement by 2 of features, with reflection padding.

    Many of the 25 taps at a pixel of the enlargement meet the same pixel of the features. Their weights are summed,
    which leaves 9 taps. The sums differ between even and odd pixels, so there are four convolutions of 3 x 3, which are
    computed as channels of one. Only the outermost pixels, which reflection treats in another way, are made from the
    enlargement itself.

    Parameters
    ----------
    features : Tensor of shape (n, inputs, y, x)
        The features.
    convolution : nn.Conv2d
        A convolution of 5 x 5 with bias.

    Returns
    -------
    Tensor of shape (n, outputs, 2 y, 2 x)
        The result.
    """
    weight, bias = convolution.weight, convolution.bias
    assert bias is not None
    if features.device.type != "cpu":
        return _convolve_plainly(features, weight, bias)
    # (x phase, y phase, outputs, inputs, 3, 3) to the channels' order of pixel_shuffle
    kernels = _halved_taps(_halved_taps(weight, -2), -1).permute(2, 1, 0, 3, 4, 5).flatten(0, 2)
    padded = F.pad(features, (1, 1, 1, 1), mode="replicate")
    convolve = winograd.convolve if winograd.is_faster(features, kernels) else F.conv2d
    convolved = F.pixel_shuffle(convolve(padded, kernels, bias.repeat_interleave(4)), 2)
    # What the outermost pixels see of the enlargement: top and bottom, then left and right, turned into rows as well.
    outermost = _outermost_rows(features, weight, bias)
    convolved[:, :, :: convolved.shape[2] - 1] = outermost
    outermost = _outermost_rows(features.transpose(2, 3), weight.transpose(2, 3), bias)
    convolved[..., :: convolved.shape[3] - 1] = outermost.transpose(2, 3)
    return convolved


def convolve_to_one(features: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Convolve features to a single channel, with reflection padding.

    A CPU computes 8 or 16 channels of a result at a time, so that a single one costs as much. Here the kernel's columns
    are channels of a convolution by columns alone, whose results are then added, each shifted by its place.

    Parameters
    ----------
    features : Tensor of shape (n, inputs, y, x)
        The features.
    convolution : nn.Conv2d
        A square convolution of odd size to one channel, with bias.

    Returns
    -------
    Tensor of shape (n, 1, y, x)
        The result.
    """
    weight, bias = convolution.weight, convolution.bias
    assert bias is not None
    padded = _reflected(features, weight)
    if features.device.type != "cpu":
        return F.conv2d(padded, weight, bias)
    columns = at_least_float32(F.conv2d(padded, weight.permute(3, 1, 2, 0).contiguous()))
    strides = list(columns.stride())
    strides[1] += strides[3]  # each channel begins one pixel further to the right
    shifted = columns.as_strided((*columns.shape[:3], features.shape[-1]), strides)
    return shifted.sum(dim=1, keepdim=True) + bias.view(1, 1, 1, 1)


def convolve_from_one(images: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Convolve images of a single channel, with reflection padding.

    The images' gradient is a convolution to a single channel: see `convolve_to_one`. Where it is wanted, the kernel's
    columns see shifted copies of the images as channels.

    Parameters
    ----------
    images : Tensor of shape (n, 1, y, x)
        The images.
    convolution : nn.Conv2d
        A square convolution of odd size from one channel, with bias.

    Returns
    -------
    Tensor of shape (n, outputs, y, x)
        The result.
    """
    weight, bias = convolution.weight, convolution.bias
    padded = _reflected(images, weight)
    if images.device.type != "cpu" or not images.requires_grad:
        return F.conv2d(padded, weight, bias)
    width = images.shape[-1]
    shifted = torch.cat([padded[..., at : at + width] for at in range(weight.shape[-1])], dim=1)
    columns = weight.permute(0, 3, 2, 1).contiguous()
    return F.conv2d(shifted.contiguous(memory_format=torch.channels_last), columns, bias)


def gradient_in_layout(features: Tensor) -> Tensor:
    """Have the gradient of features in their own layout, so that it stays so in all layers before.

    The gradients of slices and losses have channels first. Norms and sums of one layout with the other take several
    times as long.

    Parameters
    ----------
    features : Tensor of shape (n, channels, y, x)
        The features.

    Returns
    -------
    Tensor of shape (n, channels, y, x)
        The same tensor.
    """
    if features.requires_grad and features.is_contiguous(memory_format=torch.channels_last):
        features.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
    return features


def _outermost_rows(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the first and the last row (n, outputs, 2, 2 x) of what `convolve_enlarged` returns."""
    first, last = features[:, :, :2], features[:, :, -2:].flip(2)
    outer, inner = torch.cat([first, last]).chunk(2, 2)
    rows = F.interpolate(torch.cat([inner, outer, outer, outer, inner], 2), scale_factor=(1, 2))
    rows = F.pad(rows, (2, 2, 0, 0), mode="reflect").contiguous(memory_format=torch.channels_last)
    return torch.cat(F.conv2d(rows, weight, bias).chunk(2), 2)


def _reflected(images: Tensor, weight: Tensor) -> Tensor:
    """Images with a margin by reflection that keeps their size in a convolution by this weight."""
    return F.pad(images, [weight.shape[-1] // 2] * 4, mode="reflect")


def _convolve_plainly(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    enlarged = F.interpolate(features, scale_factor=2)
    return F.conv2d(F.pad(enlarged, (2, 2, 2, 2), mode="reflect"), weight, bias)


def _halved_taps(weight: Tensor, axis: int) -> Tensor:
    """Turn five taps on an enlargement by 2, along an axis, into three on what is enlarged: (2, ...), even and odd."""
    first, second, third, fourth, fifth = weight.unbind(axis)
    even = torch.stack([first + second, third + fourth, fifth], axis)
    odd = torch.stack([first, second + third, fourth + fifth], axis)
    return torch.stack([even, odd])


def _merged_instance_norm(features: Tensor, scale: Tensor | None, shift: Tensor | None, relu: bool) -> Tensor:
    """`instance_norm` in one call, which takes the channels of all samples as those of one."""
    scale, shift = (None if factor is None else factor.flatten() for factor in (scale, shift))
    merged = features.reshape(1, -1, *features.shape[2:])
    return _batch_norm(merged, scale, shift, relu).reshape(features.shape)


def _batch_norm(sample: Tensor, scale: Tensor | None, shift: Tensor | None, relu: bool) -> Tensor:
    """Normalise the channels of one sample (1, channels, y, x); factors (channels,)."""
    normalised = F.batch_norm(sample, None, None, scale, shift, training=True, eps=_EPSILON)
    return F.relu_(normalised) if relu else normalised


class _LayerNorm(torch.autograd.Function):
    """gain z + shift, where z = (x - mean) / d over a sample and d = std + 1e-5, unbiased; factors (1, channels, 1, 1).

    The gradient is written out, because torch's own, of group_norm and std, is many times slower on channels last. Let
    g be the gradient of the result, h = gain g, and let means be taken over a sample. Then the gradient of x is

        (h - mean(h) - k z' mean(h z')) / d

    where z' is z scaled to a variance of 1, and k = std / d. The gradient of the gain is the sum of g z, and that of
    the shift is the sum of g, over all pixels of all samples.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        standardised, inverse = _standardise(at_least_float32(features))
        # From 1 / sqrt(variance) to 1 / (std + 1e-5)
        bessel = math.sqrt(1 - 1 / features[0].numel())
        damping = 1 / (1 + 1e-5 * bessel * inverse)
        ratio = bessel * damping
        ctx.save_for_backward(standardised.to(features.dtype), gain, inverse * ratio, ratio, damping)
        return torch.addcmul(shift, standardised, ratio * gain).to(features.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gradient, (standardised, gain, inverse, ratio, damping) = at_least_float32(gradients[0]), ctx.saved_tensors
        total, matched = (summed.sum((2, 3), keepdim=True) for summed in (gradient, gradient * standardised))
        weight = inverse * gain
        pixels = gradient[0].numel()
        offset = (weight * total).sum(1, True) / -pixels
        slope = damping * (weight * matched).sum(1, True) / -pixels
        inner = torch.addcmul(offset, standardised, slope).addcmul_(gradient, weight)
        return inner, (matched * ratio).sum_to_size(gain.shape), total.sum_to_size(gain.shape)


def _standardise(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return (x - mean) / deviation and 1 / deviation (n, 1, 1, 1) over each sample.

    There are two ways, because a GPU's group norm does not keep channels last, and torch's moments of channels last
    are slow on a CPU.
    """
    return (_by_group_norm if features.device.type == "cpu" else _by_moments)(features)


def _by_group_norm(features: Tensor) -> tuple[Tensor, Tensor]:
    count, channels, *size = features.shape
    # Unlike layer_norm it keeps channels last.
    standardised, _, inverse = torch.native_group_norm(
        features, None, None, count, channels, math.prod(size), 1, _EPSILON_OF_LAYERS
    )
    return standardised, inverse[:, :, None, None]


def _by_moments(features: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(features, (1, 2, 3), correction=0, keepdim=True)
    inverse = (variance + _EPSILON_OF_LAYERS).rsqrt()
    return (features - mean) * inverse, inverse
