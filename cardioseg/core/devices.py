"""The device that computes, and sending to it without waiting."""

import re
import warnings

import torch
from torch import Tensor

from cardioseg.core.errors import InputError


def choose(name: str, key: str = "compute.device") -> torch.device:
    """Choose the device that computes.

    Parameters
    ----------
    name : str
        `auto` (the GPU where there is one, otherwise the CPU), or torch's name of a device.
    key : str
        The setting to name in the error.

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    InputError
        A GPU is asked for and there is none.
    """
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"{key}: {name}, but no GPU is visible here; expected one. Set it to auto or cpu.")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def choose_any(name: str, key: str) -> torch.device:
    """Choose a device by any name, and check that it computes.

    Parameters
    ----------
    name, key : str
        As in `choose`; any text may be the name.

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    InputError
        torch does not know the name, or the device does not compute here.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # about deprecated names of devices
            device = choose(name, key)
        torch.ones(1, device=device).add(1).item()
    except InputError:
        raise
    except Exception as error:  # each backend raises its own errors
        reason = re.split(r"\n|\.( |$)|: ", str(error))[0] or type(error).__name__
        raise InputError(f"{key}: {name} cannot compute here ({reason}). Set it to auto or cpu.") from error
    return device


def send(values: Tensor, device: torch.device) -> Tensor:
    """Send values from the CPU to a device. A GPU receives them during its other work, from pinned memory.

    Parameters
    ----------
    values : Tensor
        Values on the CPU.
    device : torch.device
        The device.

    Returns
    -------
    Tensor
        The values on the device.
    """
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
