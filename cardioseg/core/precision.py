"""How exactly networks multiply: `float32`, `tf32` (a GPU rounds the factors to 10 bits) or `bfloat16` (7 bits).

Whatever it is, weights, optimisers' states, the norms' statistics and losses are float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Let a GPU use TF32 in products and convolutions of float32 if `precision` says so, and not otherwise."""
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
    """The context of networks' forward passes. Theirs with gradients and theirs without need one each.

    Within one, weights are rounded once, and what was rounded without gradients has none later on.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def full(numbers: Tensor) -> Tensor:
    """bfloat16 as float32, what is more exact as it is."""
    return numbers.to(torch.promote_types(numbers.dtype, torch.float32))
