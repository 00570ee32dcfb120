"""Whether the contents of a model file can be used: a damaged file must not become a network, nor fill the memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from cardioseg.core import checkpoints, configuration

# The keys of the settings that inference reads.
NEEDED = {
    "resampling": ("spacing_mm", "bias_field_correction"),
    "localisation": ("spacing_mm", "percentiles", "width", "depth"),
    "cropping": ("size", "percentiles"),
    "segmentation": ("network", "width", "depth", "dropout", "views", "precision", "slice_smoothing_mm"),
    "postprocessing": ("crf", "morphology"),
    "clinical": ("cavity", "myocardium"),
    "scar": ("method", "standard_deviations", "smallest_ml"),
    "segments": ("right_ventricle",),
    "registration": ("margin_mm", "smoothing_mm", "bins", "samples", "iterations", "grid_mm"),
    "fusion": ("stage", "weight", "blur_mm", "least_agreement", "least_area"),
}


def check_about(about: Mapping[str, Any], sections: Sequence[str]) -> None:
    """Check what a file says about its model.

    Parameters
    ----------
    about : mapping of str to Any
        The attributes of a `TrainedModel` other than its networks.
    sections : sequence of str
        The sections that its settings must have.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError
        Something is missing, or cannot be true of any model.
    """
    settings, structures, cohort = about["settings"], about["structures"], about["cohort"]
    configuration.check_settings({name: settings[name] for name in sections})
    given = [name for name in sections if settings[name] is not None]
    missing = [f"{name}.{key}" for name in given for key in NEEDED.get(name, ()) if key not in settings[name]]
    if missing:
        raise KeyError(", ".join(missing))
    if settings["cropping"]["size"] % 2 ** settings["segmentation"]["depth"]:
        raise ValueError("the networks cannot halve the crop as often as they must")
    if not structures or not all(type(code) is int and 0 < code < 2**31 for code in structures.values()):
        raise ValueError("structures without codes")
    if (
        not all(isinstance(about[name], dict) for name in ("translation", "versions", "sources"))
        or type(about["licence"]) is not str
    ):
        raise TypeError("translation, versions, sources or licence of another type")
    for name in structures:
        least, most = map(float, cohort["volumes_ml"][name])
        if not 0 <= least <= most:
            raise ValueError(f"volumes of {name} from {least} to {most} ml")
    if cohort["directions"] is not None:
        pair = np.array(cohort["directions"], float)
        if pair.shape != (2, 3) or not np.isfinite(pair).all() or np.linalg.norm(np.cross(*pair)) < 0.1:
            raise ValueError("directions that do not span a plane")


def fill(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Put weights into a network that was made on the device "meta" and so has no memory yet.

    Parameters
    ----------
    network : Module
        The network.
    weights : mapping of str to Tensor
        Its weights by name, which it holds from then on.

    Raises
    ------
    KeyError, TypeError, ValueError, RuntimeError
        Weights are missing, of another type or shape, not finite, or views of less memory than they promise.
    """
    for name, own in network.state_dict().items():
        tensor = weights[name]
        if tensor.dtype != own.dtype or tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise TypeError(f"{name} is stored in another way")
        if not checkpoints.finite(tensor):
            raise ValueError(f"{name} is not finite")
    network.load_state_dict(weights, assign=True)
