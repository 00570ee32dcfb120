"""SegResNet, from MONAI, an optional extra: a residual encoder with a light decoder.

A. Myronenko: 3D MRI Brain Tumor Segmentation Using Autoencoder Regularization, BrainLes 2018, here in 2-D.
"""

import importlib.util
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cardioseg.core.errors import InputError

if TYPE_CHECKING:
    from torch import nn


def check_installed() -> None:
    """Raise InputError without MONAI."""
    if importlib.util.find_spec("monai") is None:
        raise InputError(
            "segmentation.network: segresnet comes with MONAI, which is not installed; install it by "
            f"`{sys.executable} -m pip install monai`, or choose unet."
        )


def segresnet(inputs: int, classes: int, settings: Mapping[str, Any]) -> "nn.Module":
    """Image (n, inputs, y, x) to class scores (n, classes, y, x); y and x are multiples of 2 ** depth.

    settings: `width`, `depth` and `dropout` as of the U-Net; with a depth of 3 the blocks of a level are those of the
    publication. Raises InputError without MONAI.
    """
    check_installed()
    from monai.networks.nets.segresnet import SegResNet

    width, depth = settings["width"], settings["depth"]
    return SegResNet(
        spatial_dims=2,
        init_filters=width,
        in_channels=inputs,
        out_channels=classes,
        dropout_prob=settings["dropout"],
        norm=("GROUP", {"num_groups": math.gcd(8, width)}),
        blocks_down=(1, *[2] * (depth - 1), 4),
        blocks_up=(1,) * depth,
    )
