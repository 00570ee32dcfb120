import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from cardioseg.core import precision
from cardioseg.core.configuration import SCHEMA
from cardioseg.core.errors import InputError
from cardioseg.segmentation import unet as unet_module
from cardioseg.segmentation.cascade import NETWORKS, Cascade, first_network, second_network, with_shape_prior
from cardioseg.segmentation.unet import predict

SETTINGS = {"network": "unet", "width": 4, "depth": 2, "dropout": 0.5}
CPU = torch.device("cpu")


def images(count=19, size=16, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, size, size)).astype(np.float32)


def unet(make, seed=0, network="unet"):
    torch.manual_seed(seed)
    return make(SETTINGS | {"network": network}, 4)


@pytest.mark.parametrize(("make", "channels"), [(first_network, 1), (second_network, 5)])
def test_networks_have_the_configured_channels_and_dropout(make, channels):
    network = unet(make)
    assert network.down[0][0].in_channels == channels
    assert network.head.out_channels == 4
    assert network.dropout.p == 0.5
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_shape_prior_is_the_first_networks_softmax():
    first = unet(first_network)
    inputs = with_shape_prior(first)
    image = torch.from_numpy(images(2))[:, None].requires_grad_()
    both = inputs(image)
    assert both.shape == (2, 5, 16, 16)
    assert torch.equal(both[:, :1], image)
    torch.testing.assert_close(both[:, 1:].sum(dim=1), torch.ones(2, 16, 16))
    torch.testing.assert_close(both[:, 1:], first(image).softmax(dim=1))
    assert torch.equal(inputs(image), both)  # no dropout
    assert not both.requires_grad
    assert not any(parameter.requires_grad for parameter in first.parameters())


def test_prediction_is_the_softmax_of_the_scores():
    network, slices = unet(first_network), images()
    probabilities = predict(network, slices, CPU)
    assert (probabilities.shape, probabilities.dtype) == ((4, 19, 16, 16), np.float32)
    assert probabilities.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    with torch.no_grad():
        scores = network(torch.from_numpy(slices[:, None])).numpy()
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        probabilities.swapaxes(0, 1), exponentials / exponentials.sum(axis=1, keepdims=True), atol=1e-5
    )


def test_prediction_leaves_the_network_unchanged_and_slices_independent():
    network, slices = unet(first_network), images()
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    together = predict(network, slices, CPU)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert np.array_equal(predict(network, slices, CPU), together)
    np.testing.assert_allclose(predict(network, slices[17:18], CPU), together[:, 17:18], atol=1e-5)


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, RuntimeError])
def test_cpu_predicts_where_the_gpu_has_no_memory_left(monkeypatch, caplog, kind):
    network, slices, gpu = unet(first_network), images(), torch.device("cuda")
    expected, on_cpu = predict(network, slices, CPU), unet_module._probabilities

    def on_full_gpu(network, images, device, exactness):
        if device == gpu:
            raise kind("CUDA error: out of memory")
        return on_cpu(network, images, device, exactness)

    monkeypatch.setattr(unet_module, "_probabilities", on_full_gpu)
    np.testing.assert_array_equal(predict(network, slices, gpu), expected)
    assert caplog.messages == ["cuda has no memory left for this prediction; the CPU makes it"]


def test_another_error_of_the_gpu_is_told(monkeypatch):
    def failing(*arguments):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(unet_module, "_probabilities", failing)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        predict(unet(first_network), images(), torch.device("cuda"))


@pytest.mark.parametrize(("size", "expected"), [(32, [19]), (96, [8, 8, 3]), (192, [4, 4, 4, 4, 3])])
def test_the_smaller_slices_are_the_more_are_predicted_at_a_time(size, expected):
    counts = []

    class Counting(nn.Module):
        def forward(self, image):
            counts.append(len(image))
            return torch.cat([image, -image], dim=1)

    predict(Counting(), np.zeros((19, size, size), np.float32), CPU)
    assert counts == expected


@pytest.mark.parametrize("has_units", [True, False])
def test_predictions_are_in_bfloat16_where_asked_for_and_the_processor_can(monkeypatch, has_units):
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: has_units)
    network, slices = Cascade(unet(first_network), unet(second_network, 1)), images(5)
    exact, rounded = predict(network, slices, CPU), predict(network, slices, CPU, "bfloat16")
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(rounded.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(rounded, exact, atol=0.05)  # bfloat16 has 8 bits
    assert np.array_equal(rounded, exact) is not has_units
    assert np.array_equal(predict(network, slices, CPU, "tf32"), exact)


@pytest.mark.parametrize("name", NETWORKS)
def test_cascade_feeds_the_first_networks_probabilities_to_the_second(name):
    first, second, slices = unet(first_network, 0, name), unet(second_network, 1, name), images(3)
    cascade = predict(Cascade(first, second), slices, CPU)
    prior = predict(first, slices, CPU)
    image = torch.from_numpy(slices[:, None])
    with torch.no_grad():
        expected = second(torch.cat([image, torch.from_numpy(prior).movedim(1, 0)], dim=1)).softmax(dim=1)
    np.testing.assert_allclose(cascade, expected.movedim(1, 0).numpy(), atol=1e-5)
    other = predict(Cascade(unet(first_network, 2, name), second), slices, CPU)
    assert np.abs(cascade - other).max() > 1e-3


def test_folded_norms_are_those_of_the_network():
    """The norms have learnt something, and the network can learn afterwards."""
    network, slices = Cascade(unet(first_network), unet(second_network, 1)), images(5)
    draws = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.uniform_(0.2, 2, generator=draws)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(slices[:, None])).softmax(dim=1).movedim(1, 0).numpy()
    np.testing.assert_allclose(predict(network, slices, CPU), expected, atol=1e-5)
    assert expected.std() > 0.1
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == 20
    network.train()(torch.from_numpy(slices[:, None])).sum().backward()


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("width", [6, 8])
def test_every_network_maps_channels_to_class_scores(name, depth, width):
    """This holds for any number of channels and every size that the configuration's check allows."""
    settings = {"network": name, "width": width, "depth": depth, "dropout": 0.0}
    for make, inputs in ((first_network, 1), (second_network, 4)):
        network = make(settings, 3).eval()
        for size in (2**depth * 2, 2**depth * 3):
            assert network(torch.zeros(2, inputs, size, size)).shape == (2, 3, size, size)
        assert any(tensor.shape[:2] == (width, inputs) for tensor in network.state_dict().values())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_of_every_network_has_a_gradient(name):
    network = unet(first_network, 0, name)
    network(torch.from_numpy(images(2))[:, None]).softmax(dim=1)[:, 0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_is_the_configured(name):
    network = unet(first_network, 0, name)
    assert {module.p for module in network.modules() if isinstance(module, nn.modules.dropout._DropoutNd)} == {0.5}


def test_networks_of_the_schema_are_those_that_there_are():
    assert list(NETWORKS) == SCHEMA["properties"]["segmentation"]["properties"]["network"]["enum"]


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"segmentation.network: segresnet comes with MONAI.*-m pip install monai"):
        unet(first_network, 0, "segresnet")
