"""Files of tensors and plain values: written completely or not at all, and read without running code."""

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cardioseg.core import files
from cardioseg.core.errors import InputError

DAMAGED = (
    "is not a complete checkpoint of tensors and plain values; it is damaged or from elsewhere. Delete it and run "
    "again to write it anew."
)
# What torch says where the system gives it no memory.
NO_MEMORY = re.compile(r"can't allocate memory|not enough memory")


def save(path: Path | str, content: dict[str, Any]) -> None:
    """Write tensors and plain values to a file, completely or not at all.

    Parameters
    ----------
    path : Path or str
        The file to write.
    content : dict
        Tensors, numbers, texts, None, and lists, tuples and dictionaries of them.

    Raises
    ------
    OSError
        The file cannot be written; the error names it.
    """
    with files.atomic_write(path) as file:
        torch.save(content, file)


def load(path: Path | str, damaged: str = DAMAGED) -> dict[str, Any]:
    """Read a file that `save` wrote, onto the CPU.

    Parameters
    ----------
    path : Path or str
        The file to read.
    damaged : str
        What the error says of a file that `save` did not write: what is wrong, and what to do.

    Returns
    -------
    dict
        What was saved.

    Raises
    ------
    InputError
        The file is missing or damaged, or holds anything but tensors and plain values, or the memory does not suffice.
    """
    message = f"{path}: {damaged}"
    try:
        # PyTorch does not compare the checksums, so a damaged byte would change a weight without notice.
        with zipfile.ZipFile(path) as archive:
            # torch.save compresses nothing; what is compressed may be far larger than its file.
            compressed = any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist())
            unsound = compressed or archive.testzip()
        content = None if unsound else torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a file of this package.") from error
    except Exception as error:  # the unpickler raises almost any error on random bytes
        if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
            raise InputError(
                f"{path}: the memory does not suffice to read it. Free some, or run fewer jobs at a time."
            ) from error
        raise InputError(message) from error
    if not isinstance(content, dict):
        raise InputError(message)
    return content


def save_weights(path: Path | str, module: torch.nn.Module, **about: Any) -> None:
    """Write a network's weights with what is needed to build the network again.

    Parameters
    ----------
    path : Path or str
        The file to write.
    module : torch.nn.Module
        The network.
    **about : Any
        What else to keep: the configuration, the iteration, versions. The version of torch is added.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    save(path, {"weights": weights, "about": {"torch": str(torch.__version__), **about}})


def load_weights(path: Path | str, module: torch.nn.Module) -> dict[str, Any]:
    """Load weights that `save_weights` wrote into a network.

    Parameters
    ----------
    path : Path or str
        The file to read.
    module : torch.nn.Module
        The network that takes the weights.

    Returns
    -------
    dict
        What was saved about the weights.

    Raises
    ------
    InputError
        The file is missing or damaged, its weights do not fit the network, or they are not finite.
    """
    content = load(path)
    try:
        module.load_state_dict(content["weights"])
        about = content["about"]
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path}: its weights are not of the configured network. Delete it and run again with this configuration."
        ) from error
    if not all(map(finite, module.state_dict().values())):
        raise InputError(f"{path}: holds weights that are NaN or infinite. Delete it and run again to write it anew.")
    return about


def finite(weights: torch.Tensor) -> bool:
    """Whether weights are neither NaN nor infinite.

    Parameters
    ----------
    weights : Tensor
        Weights of any shape.

    Returns
    -------
    bool
        Whether all are finite.
    """
    # By NumPy, since PyTorch would wake its threads for each of the many small tensors of a network.
    return bool(np.isfinite(weights.cpu().numpy()).all())
