"""The model's networks as ONNX, for programs without torch, and a check that they give the same masks.

Needs the packages onnx, onnxruntime and onnxscript: the optional extra `onnx`.
"""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.model import segmentation
from cardioseg.model.trained_model import TrainedModel

# Rounding may change voxels where two classes are equally probable, but not more than this share of the structures.
TOLERANCE = 1e-4


class Session(nn.Module):
    """A network that onnxruntime computes on the CPU: from slices (n, 1, y, x) to class scores (n, classes, y, x)."""

    def __init__(self, path: Path, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def forward(self, image: Tensor) -> Tensor:
        (scores,) = self.session.run(None, {"image": image.numpy()})
        return torch.from_numpy(scores)


def write(model: TrainedModel, folder: Path) -> TrainedModel:
    """Write the networks as `localiser.onnx` and one `cascade_seed*.onnx` per member.

    Each network takes `image`, slices (n, 1, y, x) in [-1, 1], and gives `scores` (n, classes, y, x). The softmax of
    these over the classes gives the probabilities. y and x are multiples of the network's stride.

    Parameters
    ----------
    model : TrainedModel
        The model.
    folder : Path
        Where to write; it is made.

    Returns
    -------
    TrainedModel
        The model whose networks onnxruntime computes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stride = int(model.localiser.stride)  # type: ignore[arg-type]
    size = model.settings["cropping"]["size"]
    members: dict[int, nn.Module] = {}
    _export(model.localiser, 4 * stride, folder / "localiser.onnx")
    for seed, member in model.members.items():
        path = folder / f"cascade_seed{seed}.onnx"
        _export(member, size, path)
        members[seed] = Session(path, stride)
    return replace(model, localiser=Session(folder / "localiser.onnx", stride), members=members)


def check(model: TrainedModel, computed: TrainedModel, images: Sequence[Volume]) -> tuple[int, int]:
    """Segment images with two models, in float32, and compare the masks.

    Parameters
    ----------
    model, computed : TrainedModel
        The model, and that which `write` returned.
    images : sequence of Volume, shape (z, y, x)
        Raw images.

    Returns
    -------
    differing : int
        How many voxels differ.
    voxels : int
        How many voxels the structures have.

    Raises
    ------
    InputError
        More than `TOLERANCE` of the structures' voxels differ.
    """
    differing = voxels = 0
    exact = model.settings | {"segmentation": model.settings["segmentation"] | {"precision": "float32"}}
    model, computed = replace(model, settings=exact), replace(computed, settings=exact)
    for image in images:
        expected, found = (segmentation.segment(image, one, torch.device("cpu")).labels for one in (model, computed))
        differing += int(np.count_nonzero(expected != found))
        voxels += int(np.count_nonzero(expected))
    if differing > TOLERANCE * voxels:
        raise InputError(
            f"onnxruntime {onnxruntime.__version__} gives other masks than torch {torch.__version__}: {differing} of "
            f"{voxels} voxels of the structures differ. Export with other versions of onnxruntime and onnxscript."
        )
    return differing, voxels


def _export(network: nn.Module, size: int, path: Path) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of every optional package that is missing
    with warnings.catch_warnings(action="ignore"):  # about future changes of torch
        torch.onnx.export(
            network.cpu().eval(),
            (torch.zeros(2, 1, size, size),),
            path,
            input_names=["image"],
            output_names=["scores"],
            dynamic_shapes=({0: "slices", 2: "rows", 3: "columns"},),
            external_data=False,
            verbose=False,
        )
