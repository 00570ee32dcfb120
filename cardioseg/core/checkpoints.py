"""Files of tensors and plain values: written completely or not at all, read without running code."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from cardioseg.core import files
from cardioseg.core.errors import InputError


def save(path: Path | str, content: dict[str, Any]) -> None:
    """Write tensors and plain values, all or nothing. Raises OSError naming the file where that fails."""
    with files.atomic_write(path) as file:
        torch.save(content, file)


def load(path: Path | str) -> dict[str, Any]:
    """Read what `save` wrote, onto the CPU. Raises InputError for a missing, damaged or unsafe file."""
    message = (
        f"{path}: not a complete checkpoint of tensors and plain values; it is damaged, or not made by this package. "
        "Delete it and run again to make it anew."
    )
    try:
        # PyTorch does not look at the checksums: a changed byte would be a changed weight.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a file of this package.") from error
    except Exception as error:  # random bytes make an unpickler raise nearly anything
        raise InputError(message) from error
    if not isinstance(content, dict):
        raise InputError(message)
    return content


def save_weights(path: Path | str, module: torch.nn.Module, **about: Any) -> None:
    """Write a network's weights with what is needed to build and judge it (configuration, iteration, versions)."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    save(path, {"weights": weights, "about": {"torch": str(torch.__version__), **about}})


def load_weights(path: Path | str, module: torch.nn.Module) -> dict[str, Any]:
    """Load a network's weights into it, return what was saved about them. Raises InputError where they do not fit."""
    content = load(path)
    try:
        module.load_state_dict(content["weights"])
        about = content["about"]
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path}: its weights are not of the configured network. Make the file anew with this configuration."
        ) from error
    if not all(tensor.isfinite().all() for tensor in module.state_dict().values()):
        raise InputError(f"{path}: holds weights that are NaN or infinite. Delete it and run again to make it anew.")
    return about
