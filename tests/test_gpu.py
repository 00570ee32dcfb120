"""What would fail or wait on a GPU, found without one: tensors without values (torch's device meta) take its place."""

import importlib
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cardioseg.core import training_loop
from cardioseg.segmentation import cascade, training, unet
from cardioseg.translation import munit_training
from tiny_trainings import NETWORK, SEGMENTATION, SOURCE, TARGET, TRANSLATION, discs

GPU = torch.device("meta")
APPEARANCE = {
    "own_curves": 0.7,
    "downward": [0.3, 0, 0.3],
    "nulled": {"structure": 2, "blood": 1, "share": [0.1, 0.8]},
    "scar": {
        "structure": 2,
        "blood": 1,
        "probability": 1,
        "half_width_degrees": [17, 180],
        "transmurality": [0.3, 1.1],
        "brightness": [0.8, 1.5],
        "dark_core": 0.3,
    },
    "bias": 0.2,
    "noise": 0.1,
    "blur_pixels": 1,
    "percentiles": [1, 99],
}


class PretendedGpu(TorchDispatchMode):
    """Refuses what a GPU does, notes what is waited for and how exact products are. Values may be read, as zeros."""

    def __init__(self):
        super().__init__()
        self.waits = []
        self.products = set()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        tensors = [leaf for leaf in tree_leaves((arguments, keywords)) if isinstance(leaf, torch.Tensor)]
        there = [tensor for tensor in tensors if tensor.device == GPU]
        name = function.name().removeprefix("aten::")
        if name == "_local_scalar_dense" and there:
            self.waits.append("reads a value")
            return 0.0
        if name == "_to_copy" and keywords.get("device", tensors[0].device) != tensors[0].device:
            if there or not keywords.get("non_blocking"):
                self.waits.append("copies")
            if there:
                return torch.zeros(tensors[0].shape, dtype=keywords.get("dtype") or tensors[0].dtype)
        elif there:
            here = [tensor for tensor in tensors if tensor.ndim and tensor.device != GPU]
            assert not here, f"{name} on two devices"
        if name == "native_group_norm" and there:
            assert tensors[0].is_contiguous(), "a GPU's group norm takes no channels last"
        result = function(*arguments, **keywords)
        if name == "convolution":
            self.products.add(torch.backends.cudnn.conv.fp32_precision)
            if any(map(channels_last, tensors[:2])):
                result = result.contiguous(memory_format=torch.channels_last)
        return result


def channels_last(tensor):
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


@pytest.fixture
def gpu(monkeypatch):
    # Neither is known of the device meta.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(importlib.import_module("torch.optim.adam"), "_device_dtype_check_for_fused", lambda *_: None)
    with PretendedGpu() as mode:
        yield mode


@pytest.fixture
def waits_of_steps(gpu, monkeypatch):
    """What each training's steps wait for, without its start, its reports and its end."""
    waits = []

    def steps(step, parts, iterations, *_):
        before = len(gpu.waits)
        for iteration in range(iterations):
            step(iteration)
        waits.append(gpu.waits[before:])
        return []

    monkeypatch.setattr(training_loop, "train", steps)
    return waits


def fit(folder, **settings):
    network = cascade.first_network(NETWORK, 3)
    training.fit(
        network,
        *discs(),
        SEGMENTATION | {"epochs": 2, "learning_rate": 0.01, "averaging": 0} | settings,
        training_loop.Run("first", 1, GPU, folder, "a"),
    )
    return network


def test_translation_runs_on_the_gpu(gpu, tmp_path):
    settings = TRANSLATION | {"iterations": 2, "averaging": 0.5}
    run = training_loop.Run("translation", 1, GPU, tmp_path, "a")
    network, history = munit_training.train([SOURCE], [TARGET], settings, run)
    assert len(history) == 2
    assert munit_training.synthesise(network, SOURCE, np.zeros((2, 3), np.float32), GPU).shape == (
        2,
        *SOURCE.shape,
    )
    assert gpu.products == {"ieee"}


def test_segmentation_runs_on_the_gpu(gpu, tmp_path):
    network = fit(tmp_path, averaging=0.5)
    assert unet.predict(network, discs()[0], GPU).shape == (3, *discs()[0].shape)
    # The network that finds the heart has another norm.
    assert unet.predict(unet.UNet(1, 3, 4, 2, "instance"), discs()[0], GPU).shape == (3, *discs()[0].shape)
    second = cascade.second_network(NETWORK, 3)
    assert unet.predict(cascade.Cascade(network, second), discs()[0], GPU).shape == (3, *discs()[0].shape)
    assert gpu.products == {"ieee"}


def test_training_steps_do_not_wait_for_the_gpu(waits_of_steps, tmp_path):
    run = training_loop.Run("translation", 1, GPU, tmp_path, "a")
    munit_training.train([SOURCE], [TARGET], TRANSLATION | {"iterations": 1}, run)
    fit(tmp_path)
    fit(tmp_path, appearance=APPEARANCE, contraction={"cavity": 1, "wall": 2, "narrowing": [-0.1, 0.5]})
    assert waits_of_steps == [[], [], []]
