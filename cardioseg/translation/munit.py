"""MUNIT (Huang et al., ECCV 2018): the networks, their losses, and one iteration of training.

Images are (n, 1, y, x) in [-1, 1]; content codes (n, channels, y / 2**downsamplings, x / 2**downsamplings) with
channels = width * 2**downsamplings; style codes (n, style_size). The networks return float32, under autocast as well.

References
----------
X. Huang, M.-Y. Liu, S. Belongie, J. Kautz: Multimodal unsupervised image-to-image translation, ECCV 2018.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cardioseg.core import winograd
from cardioseg.core.cuda_graphs import side_by_side
from cardioseg.core.precision import at_least_float32, forward_pass
from cardioseg.translation.kernels import (
    convolve_enlarged,
    convolve_from_one,
    convolve_to_one,
    gradient_in_layout,
    instance_norm,
    layer_norm,
)


class LayerNorm(nn.Module):
    """Layer norm with a gain, drawn from U(0, 1), and a shift per channel; see `kernels.layer_norm`.

    Parameters
    ----------
    channels : int
        Number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.rand(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        return layer_norm(features, self.gain, self.shift)


class Residual(nn.Module):
    """Two 3 x 3 convolutions with instance norm around a shortcut.

    Parameters
    ----------
    channels : int
        Number of channels, in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = winograd.Convolution(channels, channels, padding_mode="reflect")
        self.second = winograd.Convolution(channels, channels, padding_mode="reflect")

    def forward(self, features: Tensor, adain: Tensor | None = None) -> Tensor:
        """Transform features.

        Parameters
        ----------
        features : Tensor of shape (n, channels, y, x)
            The features.
        adain : Tensor of shape (n, 2, 2, channels), optional
            For each of the two convolutions, AdaIN's shift and scale. Without them the norm is plain.

        Returns
        -------
        Tensor of shape (n, channels, y, x)
            The features plus the block's output.
        """
        first, second = (None, None) if adain is None else adain.unbind(1)
        return features + instance_norm(self.second(instance_norm(self.first(features), first, relu=True)), second)


class ContentEncoder(nn.Module):
    """From an image to its content code. Instance norm removes the contrast, so that the anatomy is left.

    Parameters
    ----------
    width : int
        Channels of the first convolution; each downsampling doubles them.
    downsamplings : int
        Number of convolutions that halve the image.
    residual_blocks : int
        Number of residual blocks.
    """

    def __init__(self, width: int, downsamplings: int, residual_blocks: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(downsamplings + 1)]
        self.stem = _convolution(1, width, 7)
        self.down = nn.ModuleList(_convolution(low, high, 4, stride=2) for low, high in pairwise(widths))
        self.residual = nn.ModuleList(Residual(widths[-1]) for _ in range(residual_blocks))

    def forward(self, image: Tensor) -> Tensor:
        features = instance_norm(convolve_from_one(image, self.stem), relu=True)
        for convolution in self.down:
            features = instance_norm(convolution(features), relu=True)
        for block in self.residual:
            features = block(features)
        return gradient_in_layout(at_least_float32(features))


class StyleEncoder(nn.Module):
    """From an image to its style code. It has no norm, which would remove the mean and variance that carry the style.

    Parameters
    ----------
    width : int
        Channels of the first convolution.
    style_size : int
        Length of a style code.
    """

    def __init__(self, width: int, style_size: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 4 * width, 4 * width]
        self.stem = _convolution(1, width, 7)
        self.down = nn.ModuleList(_convolution(low, high, 4, stride=2) for low, high in pairwise(widths))
        self.head = nn.Conv2d(widths[-1], style_size, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = F.relu_(convolve_from_one(image, self.stem))
        for convolution in self.down:
            features = F.relu_(convolution(features))
        return at_least_float32(self.head(features.mean(dim=(2, 3), keepdim=True)).flatten(1))


class Decoder(nn.Module):
    """From content and style to an image. An MLP turns the style into the AdaIN parameters of the residual blocks.

    Parameters
    ----------
    width, downsamplings, residual_blocks : int
        As in the `ContentEncoder` whose codes it decodes.
    style_size : int
        Length of a style code.
    mlp_width : int
        Width of the MLP's hidden layers.
    """

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
        features = gradient_in_layout(features)
        for convolution, norm in zip(self.up, self.norm, strict=True):
            features = F.relu_(norm(convolve_enlarged(features, cast(nn.Conv2d, convolution))))
        return torch.tanh(at_least_float32(convolve_to_one(features, self.head)))


class Generator(nn.Module):
    """One domain's auto-encoder. It has 15.007 M parameters in the published configuration with one channel.

    Parameters
    ----------
    width, downsamplings, residual_blocks, style_size, mlp_width : int
        See `ContentEncoder`, `StyleEncoder` and `Decoder`.
    """

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
    """A small network, once for each scale. It has 8.265 M parameters in the published configuration with one channel.

    It maps images to one map of scores per scale, high for real images. Each scale halves the image.

    Parameters
    ----------
    width : int
        Channels of the first convolution; each layer doubles them.
    layers : int
        Number of convolutions that halve the image.
    scales : int
        Number of scales.
    """

    def __init__(self, width: int, layers: int, scales: int) -> None:
        super().__init__()
        widths = [1, *(width * 2**layer for layer in range(layers))]
        self.scales = nn.ModuleList()
        for _ in range(scales):
            parts: list[nn.Module] = []
            for low, high in pairwise(widths):
                parts += [_convolution(low, high, 4, stride=2), nn.LeakyReLU(0.2, inplace=True)]
            self.scales.append(nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 1)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> list[Tensor]:
        scores = []
        for scale in self.scales:
            scores.append(at_least_float32(scale(image)))
            image = F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
        return scores


def discriminator_loss(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Compute the discriminator's least-squares loss: real images to 1, fake ones to 0.

    Parameters
    ----------
    real, fake : list of Tensor
        Scores at each scale, see `Discriminator`.

    Returns
    -------
    Tensor of shape ()
        Sum over the scales.

    References
    ----------
    X. Mao et al.: Least squares generative adversarial networks, ICCV 2017.
    """
    return torch.stack([(a - 1).square().mean() + b.square().mean() for a, b in zip(real, fake, strict=True)]).sum()


def generator_loss(fake: list[Tensor]) -> Tensor:
    """Compute the generator's least-squares loss: fake images to 1; see `discriminator_loss`.

    Parameters
    ----------
    fake : list of Tensor
        Scores at each scale.

    Returns
    -------
    Tensor of shape ()
        Sum over the scales.
    """
    return torch.stack([(scores - 1).square().mean() for scores in fake]).sum()


class Styles(NamedTuple):
    """Random styles of both domains for one update.

    Attributes
    ----------
    source, target : Tensor of shape (n, style_size)
        Style codes drawn from N(0, I).
    """

    source: Tensor
    target: Tensor


class Munit(nn.Module):
    """Both domains' generators and discriminators.

    Parameters
    ----------
    generator, discriminator : mapping of str to int
        The arguments of `Generator` and `Discriminator`.
    """

    def __init__(self, generator: Mapping[str, int], discriminator: Mapping[str, int]) -> None:
        super().__init__()
        self.source, self.target = Generator(**generator), Generator(**generator)
        self.source_discriminator, self.target_discriminator = (
            Discriminator(**discriminator),
            Discriminator(**discriminator),
        )

    def generators(self) -> list[nn.Parameter]:
        """Return the parameters of both autoencoders.

        Returns
        -------
        list of Parameter
            The parameters.
        """
        return [*self.source.parameters(), *self.target.parameters()]

    def discriminators(self) -> list[nn.Parameter]:
        """Return the parameters of both discriminators.

        Returns
        -------
        list of Parameter
            The parameters.
        """
        return [*self.source_discriminator.parameters(), *self.target_discriminator.parameters()]


class Encoded(NamedTuple):
    """Real images of one domain with their content and style.

    Attributes
    ----------
    image : Tensor of shape (n, 1, y, x)
        The images.
    content : Tensor of shape (n, channels, y, x)
        Content codes.
    style : Tensor of shape (n, style_size)
        Style codes.
    """

    image: Tensor
    content: Tensor
    style: Tensor


class Optimisers(NamedTuple):
    """What changes the networks.

    Attributes
    ----------
    generators, discriminators : torch.optim.Adam
        The optimisers of both domains' generators and of both discriminators.
    """

    generators: torch.optim.Adam
    discriminators: torch.optim.Adam


def step(
    munit: Munit,
    optimisers: Optimisers,
    source: Tensor,
    target: Tensor,
    styles: tuple[Styles, Styles],
    weights: Mapping[str, float],
    precision: str = "float32",
) -> dict[str, Tensor]:
    """Train all networks for one iteration: the discriminators' update, then the generators'.

    The generators do not change in between, so both updates share the encodings of the real images.

    Parameters
    ----------
    munit : Munit
        The networks, changed in place.
    optimisers : Optimisers
        See `make_optimisers`.
    source, target : Tensor of shape (n, 1, y, x)
        Real images in [-1, 1].
    styles : tuple of Styles
        The random styles of the two updates.
    weights : mapping of str to float
        Weights of the losses `adversarial`, `image`, `style`, `content` and `cycle`.
    precision : str
        Precision of the forward passes, see `core.precision`.

    Returns
    -------
    dict of str to Tensor
        The losses, detached: `discriminator`, `generator` (the weighted sum) and its terms.
    """
    forward = partial(forward_pass, precision, source.device)
    with forward():
        content_source, content_target, style_source, style_target = side_by_side(
            lambda: munit.source.content(source),
            lambda: munit.target.content(target),
            lambda: munit.source.style(source),
            lambda: munit.target.style(target),
        )
    real_source, real_target = (
        Encoded(source, content_source, style_source),
        Encoded(target, content_target, style_target),
    )

    discriminator = _discriminators_loss(munit, real_source, real_target, styles[0], forward)
    optimisers.discriminators.zero_grad(set_to_none=True)
    (weights["adversarial"] * discriminator).backward()
    optimisers.discriminators.step()

    losses = _generators_losses(munit, real_source, real_target, styles[1], forward, bool(weights["cycle"]))
    total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
    optimisers.generators.zero_grad(set_to_none=True)
    total.backward()
    optimisers.generators.step()
    return {
        "discriminator": discriminator.detach(),
        "generator": total.detach(),
        **{name: loss.detach() for name, loss in losses.items()},
    }


def _discriminators_loss(
    munit: Munit,
    source: Encoded,
    target: Encoded,
    styles: Styles,
    forward: Callable[[], AbstractContextManager[Any]],
) -> Tensor:
    """How badly both discriminators tell real images from translated ones. The generators get no gradient."""
    with torch.no_grad(), forward():
        fake_source, fake_target = side_by_side(
            lambda: munit.source.decode(target.content, styles.source),
            lambda: munit.target.decode(source.content, styles.target),
        )
    with forward():
        scores_source, scores_target = side_by_side(
            lambda: _scores(munit.source_discriminator, source.image, fake_source),
            lambda: _scores(munit.target_discriminator, target.image, fake_target),
        )
    return discriminator_loss(*scores_source) + discriminator_loss(*scores_target)


def _generators_losses(
    munit: Munit,
    source: Encoded,
    target: Encoded,
    styles: Styles,
    forward: Callable[[], AbstractContextManager[Any]],
    cycle: bool,
) -> dict[str, Tensor]:
    """The generators' losses by term, `cycle` only where asked for. The discriminators' weights get no gradient."""
    count = len(source.image)
    with _frozen(munit.discriminators()), forward():
        decoded_source, decoded_target = side_by_side(
            lambda: munit.source.decode(
                torch.cat([source.content, target.content]), torch.cat([source.style, styles.source])
            ),
            lambda: munit.target.decode(
                torch.cat([target.content, source.content]), torch.cat([target.style, styles.target])
            ),
        )
        recon_source, fake_source = decoded_source[:count], decoded_source[count:]
        recon_target, fake_target = decoded_target[:count], decoded_target[count:]
        # A translated image has the content of the other domain's real image.
        (
            content_target_again,
            content_source_again,
            style_source_again,
            style_target_again,
            scores_source,
            scores_target,
        ) = side_by_side(
            lambda: munit.source.content(fake_source),
            lambda: munit.target.content(fake_target),
            lambda: munit.source.style(fake_source),
            lambda: munit.target.style(fake_target),
            lambda: munit.source_discriminator(fake_source),
            lambda: munit.target_discriminator(fake_target),
        )
        if cycle:
            cycle_source, cycle_target = side_by_side(
                lambda: munit.source.decode(content_source_again, source.style),
                lambda: munit.target.decode(content_target_again, target.style),
            )
    losses = {
        "adversarial": generator_loss(scores_source) + generator_loss(scores_target),
        "image": F.l1_loss(recon_source, source.image) + F.l1_loss(recon_target, target.image),
        "style": F.l1_loss(style_source_again, styles.source) + F.l1_loss(style_target_again, styles.target),
        "content": F.l1_loss(content_source_again, source.content) + F.l1_loss(content_target_again, target.content),
    }
    if cycle:
        losses["cycle"] = F.l1_loss(cycle_source, source.image) + F.l1_loss(cycle_target, target.image)
    return losses


@contextmanager
def _frozen(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Within the block the parameters get no gradient."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def make_optimisers(munit: Munit, settings: Mapping[str, Any]) -> Optimisers:
    """Make the optimisers as published: Adam, with the weight decay in the gradient.

    Parameters
    ----------
    munit : Munit
        The networks.
    settings : mapping
        `learning_rate`, `betas` and `weight_decay` of the configuration's `translation`.

    Returns
    -------
    Optimisers
        One for the generators and one for the discriminators.
    """

    def adam(parameters: list[nn.Parameter]) -> torch.optim.Adam:
        betas = (settings["betas"][0], settings["betas"][1])
        return torch.optim.Adam(
            parameters, settings["learning_rate"], betas, weight_decay=settings["weight_decay"], fused=True
        )

    return Optimisers(adam(munit.generators()), adam(munit.discriminators()))


def _scores(discriminator: Discriminator, real: Tensor, fake: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Scores of real and of fake images, computed together."""
    both = discriminator(torch.cat([real, fake]))
    return [scores[: len(real)] for scores in both], [scores[len(real) :] for scores in both]


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, padding_mode="reflect")
