import numpy as np
import pytest
import torch
from torch import nn

from cardioseg.segmentation import Cascade, first_network, second_network, with_shape_prior
from cardioseg.unet import predict

SETTINGS = {"width": 4, "depth": 2, "dropout": 0.5}
CPU = torch.device("cpu")


def images(count=19, size=16, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, size, size)).astype(np.float32)


def unet(make, seed=0):
    torch.manual_seed(seed)
    return make(SETTINGS, 4)


@pytest.mark.parametrize(("make", "channels"), [(first_network, 1), (second_network, 5)])
def test_networks(make, channels):
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


def test_probabilities():
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


def test_prediction_changes_nothing_and_needs_no_company():
    network, slices = unet(first_network), images()
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    together = predict(network, slices, CPU)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert np.array_equal(predict(network, slices, CPU), together)
    np.testing.assert_allclose(predict(network, slices[17:18], CPU), together[:, 17:18], atol=1e-5)


def test_cascade():
    first, second, slices = unet(first_network), unet(second_network, 1), images(3)
    cascade = predict(second, slices, CPU, with_shape_prior(first))
    prior = predict(first, slices, CPU)
    image = torch.from_numpy(slices[:, None])
    with torch.no_grad():
        expected = second(torch.cat([image, torch.from_numpy(prior).movedim(1, 0)], dim=1)).softmax(dim=1)
    np.testing.assert_allclose(cascade, expected.movedim(1, 0).numpy(), atol=1e-5)
    other = predict(second, slices, CPU, with_shape_prior(unet(first_network, 2)))
    assert np.abs(cascade - other).max() > 1e-3
    np.testing.assert_array_equal(predict(Cascade(first, second), slices, CPU), cascade)
