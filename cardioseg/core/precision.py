"""How exactly networks multiply: `float32`, `tf32` (a GPU rounds the factors to 10 bits) or `bfloat16` (7 bits).

Weights, states of optimisers, statistics of norms and losses are float32 in any case.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Let a GPU round the factors of float32 products and convolutions to TF32 if, and only if, `precision` says so.

    Parameters
    ----------
    precision : one of 'float32', 'tf32', 'bfloat16'
        The precision of products.

    Yields
    ------
    None
        While products are computed in this precision.
    """
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value


def forward_pass(precision: str, device: torch.device) -> torch.autocast:
    """Return the context for forward passes of networks.

    A processor without units for bfloat16 would take longer for it than for float32, and so computes in float32. Passes
    with gradients and passes without need a context each: a context rounds the weights once, and weights that were
    rounded without gradients get none later on.

    Parameters
    ----------
    precision : one of 'float32', 'tf32', 'bfloat16'
        The precision of products.
    device : torch.device
        Where the networks compute.

    Returns
    -------
    torch.autocast
        The context.
    """
    enabled = precision == "bfloat16" and (device.type != "cpu" or cpu_has_bfloat16())
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def cpu_has_bfloat16() -> bool:
    """Return whether the processor multiplies in bfloat16 (AVX-512 BF16 or AMX).

    Returns
    -------
    bool
        Whether it does.
    """
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def at_least_float32(numbers: Tensor) -> Tensor:
    """Convert bfloat16 to float32 and leave more exact numbers as they are.

    Parameters
    ----------
    numbers : Tensor of shape (...)
        Numbers of any precision.

    Returns
    -------
    Tensor of shape (...)
        The same numbers.
    """
    return numbers.to(torch.promote_types(numbers.dtype, torch.float32))
