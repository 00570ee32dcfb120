"""Sending to a GPU without waiting for it."""

import torch
from torch import Tensor


def send(values: Tensor, device: torch.device) -> Tensor:
    """Values on the CPU, on the device. A GPU gets them between its other work, from memory that stays in place."""
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
