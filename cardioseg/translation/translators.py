"""The ways to turn source images into target-like ones, by the name in the configuration."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cardioseg.core import training_loop
from cardioseg.translation import histogram, munit_training


@dataclass(frozen=True)
class Translator:
    """What a translator offers; its network is kept by `checkpoints.save_weights`.

    Images are volumes (z, y, x) in [-1, 1], as they are cropped. The synthetic ones lie on the grid of their source,
    so that its labels fit them.

    Parameters
    ----------
    title : str
        Its name in the report.
    train : callable
        Takes the source's volumes, the target's, the section `translation` of the configuration, and the run. Returns
        the network and the history of its losses, which is empty where nothing is learnt step by step.
    load : callable
        Takes the same settings and the network's file. Returns the network. Raises InputError where these do not fit.
    sample_styles : callable
        Takes the network, a seed, a patient's name and a number of samples. Returns one style for each of them, an
        array (samples, style_size) that depends on nothing else; more samples begin with the same styles.
    synthesise : callable
        Takes the network, a source volume, styles, and the device to compute on. Returns a volume for each style,
        (samples, z, y, x).
    """

    title: str
    train: Callable[
        [Sequence[np.ndarray], Sequence[np.ndarray], Mapping[str, Any], training_loop.Run],
        tuple[nn.Module, list[dict[str, float]]],
    ]
    load: Callable[[Mapping[str, Any], Path | str], nn.Module]
    sample_styles: Callable[[Any, int, str, int], np.ndarray]
    synthesise: Callable[[Any, np.ndarray, np.ndarray, torch.device], np.ndarray]


TRANSLATORS = {
    "munit": Translator(
        "MUNIT", munit_training.train, munit_training.load, munit_training.sample_styles, munit_training.synthesise
    ),
    "histogram": Translator(
        "histogram matching", histogram.train, histogram.load, histogram.sample_styles, histogram.synthesise
    ),
}
