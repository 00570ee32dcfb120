"""The device that computes, and sending to it without waiting."""

import torch
from torch import Tensor

from cardioseg.core.errors import InputError


def choose(name: str) -> torch.device:
    """'auto' is the GPU where there is one, else the CPU; otherwise the device of that name.

    Raises InputError where a GPU is asked for and there is none.
    """
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"compute.device: {name}, but no GPU is to be seen here; expected one. Set it to auto or cpu.")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def send(values: Tensor, device: torch.device) -> Tensor:
    """Values on the CPU, on the device. A GPU gets them between its other work, from memory that stays in place."""
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
