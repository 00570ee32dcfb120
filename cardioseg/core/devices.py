"""The device that computes, and sending to it without waiting."""

import torch
from torch import Tensor

from cardioseg.core.errors import InputError


def choose(name: str) -> torch.device:
    """Return the device of a name: auto is the GPU where there is one, else the CPU.

    Raises InputError where a GPU is asked for and there is none.
    """
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"compute.device: {name}, but no GPU is to be seen here; expected one. Set it to auto or cpu.")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def send(values: Tensor, device: torch.device) -> Tensor:
    """Send values from the CPU to the device. A GPU receives them beside its other work, from pinned memory."""
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
