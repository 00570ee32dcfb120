from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cardioseg.core import winograd


def direct(padded, weight, bias, gradient):
    """The result and the gradients by torch in float64."""
    tensors = [tensor.double().detach().requires_grad_() for tensor in (padded, weight, bias)]
    result = F.conv2d(*tensors)
    return [result, *torch.autograd.grad(result, tensors, gradient.double())]


# One tile; tall and wide; several samples at a time, and some left over; several bands of rows, the last one shorter.
@pytest.mark.parametrize("size", [(1, 4, 4), (2, 8, 20), (5, 28, 24), (2, 60, 44), (1, 4, 800)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_result_and_gradients_are_those_of_a_direct_convolution(size, layout):
    count, height, width = size
    torch.manual_seed(0)
    padded = torch.randn(count, 5, height + 2, width + 2).contiguous(memory_format=layout)
    weight, bias = torch.randn(3, 5, 3, 3).contiguous(memory_format=layout), torch.randn(3)
    gradient = torch.randn(count, 3, height, width).contiguous(memory_format=layout)
    tensors = [tensor.requires_grad_() for tensor in (padded, weight, bias)]
    result = winograd.convolve(*tensors)
    assert result.is_contiguous(memory_format=torch.channels_last)
    found = [result, *torch.autograd.grad(result, tensors, gradient)]
    for one, expected in zip(found, direct(padded, weight, bias, gradient), strict=True):
        assert (one - expected).abs().max() < 2e-5 * expected.abs().max()


def test_rounding_error_stays_small():
    torch.manual_seed(0)
    padded, weight, bias = torch.randn(1, 256, 18, 18), torch.randn(64, 256, 3, 3), torch.randn(64)
    expected = F.conv2d(padded.double(), weight.double(), bias.double())
    error = winograd.convolve(padded, weight, bias) - expected
    assert error.square().mean().sqrt() < 3e-6 * expected.square().mean().sqrt()


def test_only_requested_gradients_are_computed():
    padded, weight, bias = torch.randn(1, 2, 6, 6), torch.randn(3, 2, 3, 3), torch.randn(3)
    for asked in product([False, True], repeat=3):
        tensors = [
            tensor.detach().requires_grad_(one) for tensor, one in zip((padded, weight, bias), asked, strict=True)
        ]
        result = winograd.convolve(*tensors)
        if any(asked):
            result.sum().backward()
        assert [tensor.grad is not None for tensor in tensors] == list(asked)
    torch.testing.assert_close(winograd.convolve(padded, weight, None), F.conv2d(padded, weight), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(48, 48), (46, 48)])  # the second does not consist of tiles
def test_layer_gives_the_result_of_torchs_convolution(padding_mode, bias, size):
    torch.manual_seed(0)
    layer = winograd.Convolution(128, 128, bias, padding_mode)
    plain = nn.Conv2d(128, 128, 3, padding=1, bias=bias, padding_mode=padding_mode)
    plain.load_state_dict(layer.state_dict())
    features = torch.randn(1, 128, *size)
    assert winograd.is_faster(features, layer.weight) == (size == (48, 48))
    torch.testing.assert_close(layer(features), plain(features), rtol=1e-4, atol=1e-4)


def test_filtering_is_used_only_where_it_is_faster():
    features, weight = torch.zeros(1, 128, 48, 48), torch.zeros(128, 128, 3, 3)
    assert winograd.is_faster(features, weight)
    assert not winograd.is_faster(features.double(), weight.double())
    assert not winograd.is_faster(features[:, :64], weight[:, :64])
    assert not winograd.is_faster(features, weight[:64])
    assert not winograd.is_faster(features[:, :, :24], weight)
    assert not winograd.is_faster(features.to("meta"), weight)
    with torch.autocast("cpu"):
        assert not winograd.is_faster(features, weight)


def test_an_exported_layer_is_a_plain_convolution():
    layer, features = winograd.Convolution(128, 128), torch.zeros(1, 128, 48, 48)
    graph = torch.export.export(layer, (features,)).graph
    assert [node.target.name() for node in graph.nodes if node.op == "call_function"] == ["aten::conv2d"]
