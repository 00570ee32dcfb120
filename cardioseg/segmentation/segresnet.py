"""SegResNet from MONAI, an optional extra: a residual encoder with a light decoder, here in 2-D.

References
----------
A. Myronenko: 3D MRI Brain Tumor Segmentation Using Autoencoder Regularization, BrainLes 2018.
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
    """Check that MONAI is installed.

    Raises
    ------
    InputError
        MONAI is not installed.
    """
    if importlib.util.find_spec("monai") is None:
        raise InputError(
            "segmentation.network: segresnet comes with MONAI, which is not installed; install it by "
            f"`{sys.executable} -m pip install monai`, or choose unet."
        )


def segresnet(inputs: int, classes: int, settings: Mapping[str, Any]) -> "nn.Module":
    """Make a network from an image (n, inputs, y, x) to class scores (n, classes, y, x).

    Parameters
    ----------
    inputs, classes : int
        Numbers of channels.
    settings : mapping
        `width`, `depth` and `dropout` as of the U-Net; y and x must be multiples of 2 ** depth. With a depth of 3 the
        levels have the publication's numbers of blocks.

    Returns
    -------
    Module
        The network.

    Raises
    ------
    InputError
        MONAI is not installed.
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
