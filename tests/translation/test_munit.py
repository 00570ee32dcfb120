import math

import pytest
import torch
from torch import nn

import reference
from cardioseg.translation import kernels, munit

PUBLISHED_GENERATOR = {"width": 64, "downsamplings": 2, "residual_blocks": 4, "style_size": 8, "mlp_width": 256}
PUBLISHED_DISCRIMINATOR = {"width": 64, "layers": 4, "scales": 3}
GENERATOR = {"width": 3, "downsamplings": 2, "residual_blocks": 2, "style_size": 5, "mlp_width": 7}
DISCRIMINATOR = {"width": 4, "layers": 3, "scales": 3}
WEIGHTS = {"adversarial": 1, "image": 10, "style": 1, "content": 1, "cycle": 10}
ADAM = {"learning_rate": 1e-3, "betas": [0.5, 0.999], "weight_decay": 1e-2}


def small(seed=0):
    torch.manual_seed(seed)
    network = munit.Munit(GENERATOR, DISCRIMINATOR).double()
    # Zero biases would hide where they belong.
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network


def draws(seed, count=1, shape=(32, 40)):
    """Images of both domains and the styles of both updates, in float64."""
    generator = torch.Generator().manual_seed(seed)
    images = [2 * torch.rand(count, 1, *shape, generator=generator, dtype=torch.float64) - 1 for _ in range(2)]
    styles = [torch.randn(count, GENERATOR["style_size"], generator=generator, dtype=torch.float64) for _ in range(4)]
    return images, (munit.Styles(*styles[:2]), munit.Styles(*styles[2:]))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def same_networks(network, plain):
    pairs = (
        (network.source, plain.gen_1),
        (network.target, plain.gen_2),
        (network.source_discriminator, plain.dis_1),
        (network.target_discriminator, plain.dis_2),
    )
    for module, values in pairs:
        for name, parameter in module.named_parameters():
            # Where a gradient is zero but for rounding (a bias before a norm) Adam divides the rounding by 1e-8.
            difference = (parameter - values[name]).abs().max()
            assert difference < 1e-5 * ADAM["learning_rate"], name


def test_parameter_counts_are_the_published_ones():
    assert round(count(munit.Generator(**PUBLISHED_GENERATOR)) / 1e6, 3) == 15.007
    assert round(count(munit.Discriminator(**PUBLISHED_DISCRIMINATOR)) / 1e6, 3) == 8.265


@torch.no_grad()
def test_images_of_192_pixels_give_codes_and_scores_of_the_published_shapes():
    image = torch.rand(1, 1, 192, 192) * 2 - 1
    generator = munit.Generator(**PUBLISHED_GENERATOR)
    content, style = generator.content(image), generator.style(image)
    assert content.shape == (1, 256, 48, 48)
    assert style.shape == (1, 8)
    decoded = generator.decode(content, style)
    assert decoded.shape == image.shape
    assert decoded.abs().max() <= 1
    scores = munit.Discriminator(**PUBLISHED_DISCRIMINATOR)(image)
    assert [tuple(score.shape) for score in scores] == [(1, 1, 12, 12), (1, 1, 6, 6), (1, 1, 3, 3)]


def test_initial_weights_have_the_published_distributions():
    torch.manual_seed(0)
    generator, discriminator = munit.Generator(**PUBLISHED_GENERATOR), munit.Discriminator(**PUBLISHED_DISCRIMINATOR)
    for module in generator.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            expected = math.sqrt(2 / module.weight[0].numel())
            assert module.weight.std().item() == pytest.approx(expected, rel=0.1)
            assert not module.bias.any()
    for module in discriminator.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert not module.bias.any()
    gain = generator.decode.norm[0].gain
    assert 0 <= gain.min() < 0.1
    assert 0.9 < gain.max() <= 1
    assert gain.mean().item() == pytest.approx(0.5, abs=0.1)


def test_layer_norm_equals_its_formula():
    norm = munit.LayerNorm(2).double()
    norm.gain.data = torch.tensor([1.0, 10.0], dtype=torch.float64)
    norm.shift.data = torch.tensor([0.0, 1.0], dtype=torch.float64)
    # One sample of mean 3 and unbiased variance (9 + 4 + 4 + 9) / 3, another that must not matter to it.
    features = torch.tensor([[[[0.0, 1.0]], [[5.0, 6.0]]], [[[100.0, 7.0]], [[2.0, 3.0]]]], dtype=torch.float64)
    normalised = norm(features)
    std = math.sqrt(26 / 3) + 1e-5
    same(normalised[0].flatten(), torch.tensor([-3 / std, -2 / std, 1 + 20 / std, 1 + 30 / std], dtype=torch.float64))


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (2, 2, 3, 3)])
def test_gradients_of_the_norms_equal_finite_differences(shape):
    """Gradients of the features, the scales and the shifts."""
    generator = torch.Generator().manual_seed(0)
    features = 3 + torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    adain = torch.randn(shape[0], 2, shape[1], generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(kernels.instance_norm, (features,))
    assert torch.autograd.gradcheck(kernels.instance_norm, (features, adain))
    norm = munit.LayerNorm(shape[1]).double()
    assert torch.autograd.gradcheck(lambda x, *_: norm(x), (features, norm.gain, norm.shift))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("layout_of_gradient", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("relu", [False, True])
def test_instance_norm_and_its_gradient_follow_the_definition_in_every_layout(relu, count, layout, layout_of_gradient):
    generator = torch.Generator().manual_seed(0)
    shape = (count, 3, 4, 5)
    features = (3 + torch.randn(shape, generator=generator, dtype=torch.float64)).contiguous(memory_format=layout)
    direction = torch.randn(shape, generator=generator, dtype=torch.float64).contiguous(
        memory_format=layout_of_gradient
    )
    features.requires_grad_()
    mean = features.mean((2, 3), keepdim=True)
    defined = (features - mean) / ((features - mean).square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
    defined = defined.clamp(min=0) if relu else defined
    normalised = kernels.instance_norm(features, relu=relu)
    same(normalised, defined)
    same(torch.autograd.grad(normalised, features, direction), torch.autograd.grad(defined, features, direction))


def test_layer_norm_by_moments_is_that_by_group_norm():
    """GPUs compute it in the former way, CPUs in the latter."""
    features = 3 + 2 * torch.randn(2, 5, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    features = features.contiguous(memory_format=torch.channels_last)
    for here, elsewhere in zip(kernels._by_group_norm(features), kernels._by_moments(features), strict=True):
        same(here, elsewhere)


@pytest.mark.parametrize("with_adain", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_instance_norm_of_all_samples_in_one_call_is_that_of_each(relu, with_adain):
    """GPUs compute it in the former way, CPUs in the latter."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, 2, 3, 3)
    features = 3 + torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    adain = torch.randn(shape[0], 2, shape[1], generator=generator, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(shape, generator=generator, dtype=torch.float64)
    shift, scale = adain.unbind(1) if with_adain else (None, None)
    norms = [
        kernels.instance_norm(features, adain if with_adain else None, relu),
        kernels._merged_instance_norm(features, scale, shift, relu),
    ]
    same(*norms)
    inputs = (features, adain) if with_adain else (features,)
    for here, there in zip(*(torch.autograd.grad(norm, inputs, direction) for norm in norms), strict=True):
        same(here, there)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradient_of_features_gets_their_layout(layout):
    features = torch.rand(2, 3, 4, 5, requires_grad=True)
    trunk = kernels.gradient_in_layout((2 * features).contiguous(memory_format=layout))
    seen = []
    trunk.register_hook(lambda gradient: seen.append(gradient.is_contiguous(memory_format=layout)))
    trunk[:, :, 1:].sum().backward()
    assert seen == [True]


@torch.no_grad()
def test_layer_norm_of_a_constant_is_its_shift():
    norm = munit.LayerNorm(2)
    norm.shift.data = torch.tensor([0.5, -1.0])
    assert torch.equal(norm(torch.full((1, 2, 4, 4), 0.25)), norm.shift.view(1, 2, 1, 1).expand(1, 2, 4, 4))


@torch.no_grad()
def test_style_sets_the_statistics_of_every_adain_layer():
    residual = munit.Residual(3).double()
    features = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    adain = torch.randn(2, 2, 2, 3, dtype=torch.float64)
    out = residual(features, adain) - features
    same(out.mean((2, 3)), adain[:, 1, 0])
    torch.testing.assert_close(out.std((2, 3), unbiased=False), adain[:, 1, 1].abs(), rtol=1e-2, atol=0)


@torch.no_grad()
def test_content_ignores_brightness_and_contrast_but_style_does_not():
    network = small()
    image = draws(3)[0][0]
    changed = 0.4 * image + 0.3
    torch.testing.assert_close(network.source.content(changed), network.source.content(image), rtol=0.02, atol=0.02)
    assert (network.source.style(changed) - network.source.style(image)).abs().max() > 0.01


@torch.no_grad()
def test_networks_are_those_of_the_paper():
    network = small()
    plain = reference.Munit(network, 1, (0, 0), 0)
    (image, _), (styles, _) = draws(1, count=2)
    content = network.source.content(image)
    same(content, reference.encode_content(plain.gen_1, image))
    same(network.source.style(image), reference.encode_style(plain.gen_1, image))
    same(network.target.decode(content, styles.target), reference.decode(plain.gen_2, content, styles.target))
    for ours, expected in zip(
        network.target_discriminator(image), reference.discriminate(plain.dis_2, image), strict=True
    ):
        same(ours, expected)


def test_adversarial_losses_equal_values_by_hand():
    real, fake = [torch.tensor([1.0, 0.5]), torch.tensor([2.0])], [torch.tensor([0.0, 1.0]), torch.tensor([-2.0])]
    assert munit.discriminator_loss(real, fake) == pytest.approx(0.125 + 0.5 + 1 + 4)
    assert munit.generator_loss(fake) == pytest.approx(0.5 + 9)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("cycle", [10, 0])
def test_iterations_follow_the_equations(batch, cycle):
    network, weights = small(), WEIGHTS | {"cycle": cycle}
    optimisers = munit.make_optimisers(network, ADAM)
    plain = reference.Munit(network, ADAM["learning_rate"], ADAM["betas"], ADAM["weight_decay"])
    for iteration in range(3):
        images, styles = draws(10 + iteration, batch)
        losses = munit.step(network, optimisers, *images, styles, weights)
        expected = {"discriminator": plain.update_discriminators(*images, *styles[0], weights["adversarial"])}
        expected |= plain.update_generators(*images, *styles[1], weights)
        if not cycle:
            del expected["cycle"]
        assert losses.keys() == expected.keys()
        for name, loss in losses.items():
            same(loss, expected[name])
            assert not loss.requires_grad
        same_networks(network, plain)
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("name", WEIGHTS)
def test_each_loss_moves_the_generators_as_its_equation_says(name):
    weights = dict.fromkeys(WEIGHTS, 0) | {name: 2.5}
    network, settings = small(), ADAM | {"weight_decay": 0}
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimisers = munit.make_optimisers(network, settings)
    plain = reference.Munit(network, settings["learning_rate"], settings["betas"], 0)
    images, styles = draws(20)
    losses = munit.step(network, optimisers, *images, styles, weights)
    plain.update_discriminators(*images, *styles[0], weights["adversarial"])
    expected = plain.update_generators(*images, *styles[1], weights)
    same(losses["generator"], 2.5 * expected[name])
    same(losses[name], expected[name])
    same_networks(network, plain)
    moved = {key.split(".")[0] for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {"source", "target"} | (
        {"source_discriminator", "target_discriminator"} if name == "adversarial" else set()
    )


def test_optimiser_is_the_published_one():
    network = small()
    generators, discriminators = munit.make_optimisers(network, ADAM | {"learning_rate": 1e-4, "weight_decay": 1e-4})
    for optimiser in (generators, discriminators):
        assert type(optimiser) is torch.optim.Adam  # AdamW would decay the weights beside the gradient
        group = optimiser.param_groups[0]
        assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-4, (0.5, 0.999), 1e-4)
    owned = [
        parameter for optimiser in (generators, discriminators) for parameter in optimiser.param_groups[0]["params"]
    ]
    assert len(owned) == len(list(network.parameters())) == len({id(parameter) for parameter in owned})


def test_steps_in_float32_stay_near_the_equations():
    network = small()
    plain = reference.Munit(network, ADAM["learning_rate"], ADAM["betas"], ADAM["weight_decay"])
    network.float().to(memory_format=torch.channels_last)
    optimisers = munit.make_optimisers(network, ADAM)
    images, styles = draws(30)
    single = [munit.Styles(*(style.float() for style in pair)) for pair in styles]
    losses = munit.step(network, optimisers, *(image.float() for image in images), tuple(single), WEIGHTS)
    plain.update_discriminators(*images, *styles[0], 1)
    for name, expected in plain.update_generators(*images, *styles[1], WEIGHTS).items():
        assert losses[name] == pytest.approx(float(expected), rel=1e-3)


def test_bfloat16_stays_near_float32():
    """The factors of a product keep 8 bits. A loss is a mean over many pixels and so keeps two digits."""
    histories = {}
    for precision in ("float32", "bfloat16"):
        network = small().float().to(memory_format=torch.channels_last)
        optimisers = munit.make_optimisers(network, ADAM)
        losses = []
        for iteration in range(5):
            images, styles = draws(40 + iteration, 2)
            single = tuple(munit.Styles(*(style.float() for style in pair)) for pair in styles)
            losses.append(
                munit.step(network, optimisers, *(image.float() for image in images), single, WEIGHTS, precision)
            )
        histories[precision] = [{name: float(loss) for name, loss in row.items()} for row in losses]
        assert {loss.dtype for row in losses for loss in row.values()} == {torch.float32}
        kept = [*network.parameters(), *(p.grad for p in network.parameters())]
        kept += [value for optimiser in optimisers for state in optimiser.state.values() for value in state.values()]
        assert {tensor.dtype for tensor in kept} == {torch.float32}
    # Each step of Adam carries the rounding on, by how much depends on the processor's products.
    tolerances = [0.03, *[0.1] * 4]
    for exact, rounded, tolerance in zip(histories["float32"], histories["bfloat16"], tolerances, strict=True):
        assert rounded == pytest.approx(exact, rel=tolerance)
        assert rounded != exact


def test_every_weight_learns_in_bfloat16():
    """A weight whose rounded copy was made without gradients would not change."""
    network = small().float()
    before = [parameter.clone() for parameter in network.parameters()]
    images, styles = draws(50)
    single = tuple(munit.Styles(*(style.float() for style in pair)) for pair in styles)
    settings = ADAM | {"weight_decay": 0}
    munit.step(
        network,
        munit.make_optimisers(network, settings),
        *(image.float() for image in images),
        single,
        WEIGHTS,
        "bfloat16",
    )
    for (name, parameter), old in zip(network.named_parameters(), before, strict=True):
        assert not torch.equal(parameter, old), name


@pytest.mark.parametrize("shape", [(1, 3, 8, 10), (2, 5, 2, 3), (1, 2, 7, 7)])
def test_convolving_the_enlargement_equals_enlarging_first(shape):
    """The gradients are equal, too."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    convolution = nn.Conv2d(shape[1], 4, 5, dtype=torch.float64)
    enlarged = features.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    plain = convolution(nn.functional.pad(enlarged, [2] * 4, mode="reflect"))
    same(kernels._convolve_plainly(features, *convolution.parameters()), plain)
    clever = kernels.convolve_enlarged(features, convolution)
    same(clever, plain)
    direction = torch.randn(plain.shape, generator=generator, dtype=torch.float64)
    for a, b in zip(
        *(torch.autograd.grad(result, (features, *convolution.parameters()), direction) for result in (clever, plain)),
        strict=True,
    ):
        same(a, b)


@pytest.mark.parametrize("size", [3, 7])
@pytest.mark.parametrize("kernel", ["convolve_to_one", "convolve_from_one"])
def test_convolving_to_or_from_one_channel_equals_the_plain_convolution(kernel, size):
    """The gradients are equal, too."""
    generator = torch.Generator().manual_seed(0)
    inputs, outputs = (5, 1) if kernel == "convolve_to_one" else (1, 5)
    convolution = nn.Conv2d(inputs, outputs, size, padding=size // 2, padding_mode="reflect", dtype=torch.float64)
    features = torch.randn((2, inputs, 9, 8), generator=generator, dtype=torch.float64, requires_grad=True)
    plain, clever = convolution(features), getattr(kernels, kernel)(features, convolution)
    same(clever, plain)
    direction = torch.randn(plain.shape, generator=generator, dtype=torch.float64)
    for a, b in zip(
        *(torch.autograd.grad(result, (features, *convolution.parameters()), direction) for result in (clever, plain)),
        strict=True,
    ):
        same(a, b)
    same(getattr(kernels, kernel)(features.detach(), convolution), plain)
