"""3 x 3 convolutions on a CPU by Winograd's minimal filtering, F(4 x 4, 3 x 3).

The image is cut into tiles of 6 x 6 pixels. Tiles and kernels are transformed, multiplied, and transformed back to 4 x
4 pixels of the result. That takes a quarter of a direct convolution's multiplications and gives the same sums up to
rounding (root mean square: 2e-6 of the result). GPUs do without it: cuDNN chooses its own algorithm.

References
----------
S. Winograd: Arithmetic Complexity of Computations, SIAM 1980.
A. Lavin, S. Gray: Fast algorithms for convolutional neural networks, CVPR 2016.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# The polynomials are interpolated at these points and at infinity. Other points give larger rounding errors.
POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
# Number of tiles transformed at a time: few enough for the cache, and enough that kernels are seldom read again.
TILES = 144


class Convolution(nn.Conv2d):
    """A 3 x 3 convolution that keeps the image's size, by minimal filtering where that is faster than torch's.

    Parameters
    ----------
    inputs, outputs : int
        Numbers of channels.
    bias : bool
        Whether a bias is added.
    padding_mode : one of 'zeros', 'reflect'
        What lies beyond the image's edge.
    """

    def __init__(
        self, inputs: int, outputs: int, bias: bool = True, padding_mode: Literal["zeros", "reflect"] = "zeros"
    ) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=bias, padding_mode=padding_mode)

    def forward(self, features: Tensor) -> Tensor:
        """Convolve features (n, inputs, y, x); returns (n, outputs, y, x)."""
        if not is_faster(features, self.weight):
            return super().forward(features)
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return convolve(F.pad(features, (1, 1, 1, 1), mode=mode), self.weight, self.bias)


def is_faster(features: Tensor, weight: Tensor) -> bool:
    """Return whether `convolve` is applicable to features before their padding, and faster than torch's convolution.

    Parameters
    ----------
    features : Tensor of shape (n, inputs, y, x)
        Features without padding.
    weight : Tensor of shape (outputs, inputs, 3, 3)
        The kernels.

    Returns
    -------
    bool
        False on a GPU, for sizes that are not a multiple of 4, for other types than float32, and for few channels or
        pixels.
    """
    if torch.compiler.is_exporting() or features.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return False
    count, inputs, height, width = features.shape
    whole = height % 4 == 0 and width % 4 == 0 and features.dtype == weight.dtype == torch.float32
    return whole and min(inputs, len(weight)) >= 128 and count * height * width >= 16 * 128


def convolve(padded: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve padded features by 3 x 3 kernels, with gradients.

    Parameters
    ----------
    padded : Tensor of float32, shape (n, inputs, 4 a + 2, 4 b + 2)
        Features on a CPU, padded by one pixel on each side.
    weight : Tensor of float32, shape (outputs, inputs, 3, 3)
        The kernels.
    bias : Tensor of float32, shape (outputs,), or None
        Added to the result.

    Returns
    -------
    Tensor of float32, shape (n, outputs, 4 a, 4 b)
        The result, channels last in memory.
    """
    return _MinimalFiltering.apply(padded, weight, bias)


class _MinimalFiltering(torch.autograd.Function):
    """Minimal filtering as an operation of autograd.

    The products have the shapes (36, tiles, inputs) by (36, inputs, outputs). The backward pass consists of the
    transposes of the same three steps.
    """

    @staticmethod
    def forward(ctx: Any, padded: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(padded, weight)
        image, kernels = padded.permute(0, 2, 3, 1), _kernels(weight).transpose(1, 2)
        count, height, width, _ = image.shape
        result = image.new_empty(count, height - 2, width - 2, len(weight))
        for samples, top, bottom in _parts(result):
            products = torch.bmm(_tiles(image[samples, top : bottom + 2]), kernels)
            if bias is not None:  # the product at the point 1 enters every pixel of the result with weight 1
                products[_AT_ONE] += bias
            blocks = _blocks(result[samples, top:bottom])
            blocks.copy_((_RESULT @ products.flatten(1)).view(blocks.shape))
        return result.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        padded, weight = ctx.saved_tensors
        outputs, inputs = weight.shape[:2]
        image, gradient, kernels = padded.permute(0, 2, 3, 1), gradients[0].permute(0, 2, 3, 1), _kernels(weight)
        count, height, width, _ = image.shape
        # Two rows and columns more than the image has, so that the last tiles fit in.
        of_image = image.new_zeros(count, height + 2, width + 2, inputs)
        of_kernels = torch.zeros_like(kernels)
        of_bias = weight.new_zeros(outputs) if ctx.needs_input_grad[2] else None
        for samples, top, bottom in _parts(gradient):
            products = _RESULT.T @ _blocks(gradient[samples, top:bottom]).reshape(16, -1)
            products = products.view(36, -1, outputs)
            if of_bias is not None:
                of_bias += products[_AT_ONE].sum(0)
            if ctx.needs_input_grad[0]:
                tiles = _TILE.T @ torch.bmm(products, kernels).flatten(1)
                _put_back(tiles.view(36, -1, inputs), of_image[samples, top : bottom + 4])
            if ctx.needs_input_grad[1]:
                of_kernels.baddbmm_(products.transpose(1, 2), _tiles(image[samples, top : bottom + 2]))
        of_weight = (_KERNEL.T @ of_kernels.flatten(1)).view(3, 3, outputs, inputs).permute(2, 3, 0, 1)
        return of_image[:, :height, :width].permute(0, 3, 1, 2), of_weight, of_bias


def _parts(image: Tensor) -> Iterator[tuple[slice, int, int]]:
    """Yield samples and rows (top, bottom) of an image (n, 4 a, 4 b, channels), about `TILES` tiles at a time."""
    count, height, width, _ = image.shape
    rows = 4 * max(1, min(height // 4, 4 * TILES // width))
    samples = max(1, 16 * TILES // (height * width))
    for first in range(0, count, samples):
        for top in range(0, height, rows):
            yield slice(first, first + samples), top, min(top + rows, height)


def _blocks(image: Tensor) -> Tensor:
    """Return a view of (n, 4 a, 4 b, channels) as (4, 4, n, a, b, channels)."""
    return image.unflatten(1, (-1, 4)).unflatten(3, (-1, 4)).permute(2, 4, 0, 1, 3, 5)


def _tiles(image: Tensor) -> Tensor:
    """Transform the 6 x 6 tiles of an image (n, 4 a + 2, 4 b + 2, inputs), one every 4 pixels: (36, n a b, inputs)."""
    tiles = image.unfold(1, 6, 4).unfold(2, 6, 4).permute(4, 5, 0, 1, 2, 3)
    return (_TILE @ tiles.reshape(36, -1)).view(36, -1, image.shape[-1])


def _put_back(tiles: Tensor, image: Tensor) -> None:
    """Add tiles (36, n a b, inputs) to an image (n, 4 a + 4, 4 b + 4, inputs), each where `_tiles` takes it from."""
    count, height, width, inputs = image.shape
    tiles = tiles.view(6, 6, count, height // 4 - 1, width // 4 - 1, inputs)
    for y in (0, 4):
        for x in (0, 4):
            there = _blocks(image[:, y : y + height - 4, x : x + width - 4])
            there[: 6 - y, : 6 - x] += tiles[y : y + 4, x : x + 4]


def _kernels(weight: Tensor) -> Tensor:
    """Transform kernels (outputs, inputs, 3, 3) to (36, outputs, inputs)."""
    return (_KERNEL @ weight.permute(2, 3, 0, 1).reshape(9, -1)).view(36, *weight.shape[:2])


def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Compute the matrices that transform the result (R), the kernel (K) and the tile (T).

    By Toom and Cook the result along one axis is R (K kernel * T tile). The matrices returned are for both axes at
    once.
    """
    points = torch.tensor(POINTS, dtype=torch.float64)
    result, kernel, tile = (torch.zeros(*size, dtype=torch.float64) for size in ((4, 6), (6, 3), (6, 6)))
    for index, point in enumerate(points):
        others = points[points != point]
        result[:, index] = point ** torch.arange(4)
        kernel[index] = point ** torch.arange(3) / (point - others).prod()
        tile[index, :5] = _polynomial(others)
    result[3, 5] = kernel[5, 2] = 1
    tile[5] = _polynomial(points)
    return torch.kron(result, result).float(), torch.kron(kernel, kernel).float(), torch.kron(tile, tile).float()


def _polynomial(roots: Tensor) -> Tensor:
    """Return the coefficients of prod (x - root), the constant first."""
    coefficients = torch.ones(1, dtype=roots.dtype)
    for root in roots:
        padded = F.pad(coefficients, (1, 1))
        coefficients = padded[:-1] - root * padded[1:]
    return coefficients


_RESULT, _KERNEL, _TILE = _transforms()
_AT_ONE = 6 * POINTS.index(1.0) + POINTS.index(1.0)
