import math
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cardioseg.segmentation.unet import Dropout, UNet


def network(norm="batch", depth=2, dropout=0.1, inputs=1):
    torch.manual_seed(0)
    return UNet(inputs, 4, 4, depth, norm, dropout)


def image(count=2, size=16, seed=0):
    return torch.randn(count, 1, size, size, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def executed(unet, size):
    """Layers in the order in which they run: name, channels in, channels out, size of the output."""
    layers = []

    def note(module, args, output):
        layers.append((type(module).__name__, args[0].shape[1], output.shape[1], output.shape[-1]))

    handles = [module.register_forward_hook(note) for module in unet.modules() if not list(module.children())]
    unet(torch.zeros(2, 1, size, size))
    for handle in handles:
        handle.remove()
    return layers


def test_layers_are_those_of_the_paper_with_norms_and_dropout():
    def block(before, after, size):
        layers = []
        for channels in (before, after):
            layers.append(("Convolution", channels, after, size))
            layers += [(name, after, after, size) for name in ("BatchNorm2d", "ReLU")]
        return layers

    plan = [*block(1, 64, 32)]
    for channels, size in ((128, 16), (256, 8), (512, 4), (1024, 2)):
        plan += [("MaxPool2d", channels // 2, channels // 2, size), *block(channels // 2, channels, size)]
    for channels, size in ((512, 4), (256, 8), (128, 16), (64, 32)):
        plan += [("ConvTranspose2d", 2 * channels, channels, size), ("Dropout", 2 * channels, 2 * channels, size)]
        plan += block(2 * channels, channels, size)
    plan.append(("Conv2d", 64, 4, 32))
    unet = UNet(1, 4, 64, 4)
    assert executed(unet, 32) == plan
    assert unet.stride == 16
    kernels = {module.kernel_size for module in unet.modules() if isinstance(module, nn.Conv2d)}
    assert kernels == {(3, 3), (1, 1)}
    assert unet.dropout.p == 0.1


@torch.no_grad()
@pytest.mark.parametrize("inputs", [1, 5])
def test_scores_have_the_size_of_a_crop_of_192_pixels(inputs):
    scores = UNet(inputs, 4, 32, 4).eval()(torch.zeros(1, inputs, 192, 192))
    assert scores.shape == (1, 4, 192, 192)


@torch.no_grad()
@pytest.mark.parametrize("level", range(3))
def test_every_skip_connection_carries_the_image(level):
    """If the levels below give zeros, the image still affects the output through the remaining skip connections."""
    unet = network(depth=3).eval()
    handle = unet.up[level].register_forward_hook(lambda module, args, output: torch.zeros_like(output))
    assert (unet(image(seed=1)) - unet(image(seed=2))).abs().max() > 0.1
    # Without that level's skip as well, only the finer ones are left.
    halves = unet.merge[level].register_forward_pre_hook(lambda module, args: torch.zeros_like(args[0]))
    left = (unet(image(seed=1)) - unet(image(seed=2))).abs().max()
    assert left == 0 if level == 2 else left > 0
    handle.remove()
    halves.remove()


@torch.no_grad()
def test_every_level_affects_the_output():
    unet = network(depth=3).eval()
    before = unet(image())
    for level in range(4):
        handle = unet.down[level].register_forward_hook(lambda module, args, output: torch.zeros_like(output))
        assert not torch.allclose(unet(image()), before)
        handle.remove()


@torch.no_grad()
def test_batch_norm_uses_batch_statistics_only_in_training():
    unet = network(dropout=0.0)
    pair = image()
    assert not torch.allclose(unet(pair)[:1], unet(torch.cat([pair[:1], pair[:1]]))[:1], atol=1e-3)
    before = {key: value.clone() for key, value in unet.state_dict().items()}
    unet.eval()
    torch.testing.assert_close(unet(pair)[:1], unet(pair[:1]), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in unet.state_dict().items())


@torch.no_grad()
@pytest.mark.parametrize("training", [True, False])
def test_instance_norm_ignores_contrast_and_the_batch(training):
    unet = network("instance").train(training)
    unet.dropout.eval()
    pair = image()
    torch.testing.assert_close(unet(pair)[:1], unet(pair[:1]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(unet(5 * pair), unet(pair), rtol=1e-3, atol=1e-3)
    assert not any("running" in name for name, _ in unet.named_buffers())
    assert not torch.allclose(network("batch").eval()(5 * pair), network("batch").eval()(pair), atol=0.1)


def test_unknown_norm_is_refused():
    with pytest.raises(KeyError):
        UNet(1, 4, 4, 2, "group")


@torch.no_grad()
def test_dropout_acts_only_in_training():
    unet = network("instance", dropout=0.5)
    assert not torch.equal(unet(image()), unet(image()))
    unet.eval()
    assert torch.equal(unet(image()), unet(image()))
    certain = network("instance", dropout=0.0)
    assert torch.equal(certain(image()), certain(image()))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout_drops_its_share_and_scales_the_rest(layout):
    torch.manual_seed(1)
    features = torch.ones(3, 7, 101, 97).to(memory_format=layout).requires_grad_()  # no multiple of 4
    dropped = Dropout(0.1)(features)
    values, counts = dropped.detach().unique(return_counts=True)
    torch.testing.assert_close(values, torch.tensor([0, 1 / 0.9]))
    # Five standard deviations of a binomial proportion.
    assert float(counts[0] / features.numel()) == pytest.approx(0.1, abs=5 * math.sqrt(0.09 / features.numel()))
    kept = dropped.detach() > 0
    for axis in range(4):
        share = kept.float().mean(dim=[other for other in range(4) if other != axis])
        assert float(share.min()) > 0.86 and float(share.max()) < 0.94
    dropped.sum().backward()
    assert torch.equal(features.grad, dropped.detach())


@torch.no_grad()
def test_output_shifts_with_the_image():
    """The shift is a multiple of the stride, and borders are left out."""
    unet = network().eval()
    picture = torch.zeros(1, 1, 64, 64)
    picture[..., 28:36, 28:36] = image(1, 8)
    moved = unet(picture.roll((4, -8), dims=(2, 3)))
    torch.testing.assert_close(moved.roll((-4, 8), dims=(2, 3))[..., 24:40, 24:40], unet(picture)[..., 24:40, 24:40])


@torch.no_grad()
def test_size_must_be_a_multiple_of_the_stride():
    unet = network().eval()
    assert unet.stride == 4
    assert unet(torch.zeros(1, 1, 12, 20)).shape == (1, 4, 12, 20)
    with pytest.raises(RuntimeError):
        unet(torch.zeros(1, 1, 14, 20))


def test_weights_are_initialised_by_he():
    unet = UNet(1, 4, 32, 3)
    for module in unet.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / module.weight[0].numel()), rel=0.2)
            assert module.bias is None or not module.bias.any()


@pytest.mark.slow
def test_network_without_memory_is_made_without_torchs_compiler():
    """That takes seconds to load, at the start of each segmentation."""
    script = """
import sys, torch
from cardioseg.segmentation.unet import UNet
with torch.device("meta"):
    UNet(1, 4, 8, 2)
sys.exit("torch._dynamo" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@torch.no_grad()
def test_upsampling_starts_without_a_checkerboard():
    for up in network(depth=3).up:
        coarse = torch.randn(1, up.in_channels, 4, 4, generator=torch.Generator().manual_seed(1))
        expected = F.interpolate(up(coarse)[..., ::2, ::2], scale_factor=2, mode="nearest")
        assert torch.equal(up(coarse), expected)
        assert expected.std() > 0


def test_every_parameter_has_a_gradient():
    unet = network(inputs=1)
    unet(image()).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in unet.parameters())
