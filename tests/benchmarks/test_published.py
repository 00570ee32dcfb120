"""The references that the benchmarks compare with compute what the shipped code computes."""

import copy
import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import published
import steps
from cardioseg.core import configuration as names
from cardioseg.core import winograd
from cardioseg.segmentation import losses, unet
from cardioseg.segmentation.augmentation import sampling_grid
from cardioseg.segmentation.cascade import first_network
from cardioseg.translation import munit

GENERATOR = {"width": 4, "downsamplings": 2, "residual_blocks": 2, "style_size": 5, "mlp_width": 7}
DISCRIMINATOR = {"width": 4, "layers": 3, "scales": 2}
SETTINGS = {"learning_rate": 1e-3, "betas": [0.5, 0.999], "weight_decay": 1e-4}
WEIGHTS = {"adversarial": 1, "image": 10, "style": 1, "content": 1, "cycle": 10}


def test_iterations_of_munit():
    torch.manual_seed(0)
    network = munit.Munit(GENERATOR, DISCRIMINATOR)
    reference = published.Munit(network, SETTINGS)
    network.to(memory_format=torch.channels_last)
    optimisers = munit.make_optimisers(network, SETTINGS)
    for _ in range(3):
        images = [2 * torch.rand(2, 1, 32, 40) - 1 for _ in range(2)]
        styles = [torch.randn(2, GENERATOR["style_size"]) for _ in range(4)]
        updates = (munit.Styles(*styles[:2]), munit.Styles(*styles[2:]))
        shipped = munit.step(network, optimisers, *images, updates, WEIGHTS)
        expected = reference.step(tuple(images), updates, WEIGHTS)
        assert {name: float(loss) for name, loss in shipped.items()} == pytest.approx(expected, rel=2e-3)


@pytest.mark.slow
def test_iteration_of_munit_with_convolutions_filtered_minimally():
    generator = GENERATOR | {"width": 64, "downsamplings": 1}
    torch.manual_seed(0)
    network = munit.Munit(generator, DISCRIMINATOR)
    reference = published.Munit(network, SETTINGS)
    network.to(memory_format=torch.channels_last)
    images = [2 * torch.rand(1, 1, 96, 96) - 1 for _ in range(2)]
    updates = tuple(munit.Styles(*torch.randn(2, 1, GENERATOR["style_size"])) for _ in range(2))
    assert winograd.is_faster(network.source.content(images[0]), network.source.decode.residual[0].first.weight)
    shipped = munit.step(network, munit.make_optimisers(network, SETTINGS), *images, updates, WEIGHTS)
    expected = reference.step(tuple(images), updates, WEIGHTS)
    assert {name: float(loss) for name, loss in shipped.items()} == pytest.approx(expected, rel=1e-4)
    # Losses have kinks, which rounding falls to one or the other side of.
    for module, values in zip((network.source, network.target), reference.generators, strict=True):
        for name, parameter in module.named_parameters():
            if parameter.dim() > 1:  # a bias before a norm has a gradient of rounding alone
                assert (parameter.grad - values[name].grad).norm() < 1e-2 * values[name].grad.norm(), name


def test_plain_prediction_can_stand_in_for_the_shipped_one():
    plain, shipped = (inspect.signature(function).parameters.values() for function in (published.predict, unet.predict))
    assert list(plain) == list(shipped)


def test_plain_network_predicts_the_same():
    torch.manual_seed(0)
    network = unet.UNet(1, 3, 128, 1)
    images = np.random.default_rng(0).uniform(-1, 1, (3, 48, 48)).astype(np.float32)
    shipped = unet.predict(network, images, torch.device("cpu"))
    plain = published.plain(copy.deepcopy(network))
    assert {type(module) for module in plain.modules()}.isdisjoint({winograd.Convolution, unet.Dropout})
    np.testing.assert_allclose(published.predict(plain, images, torch.device("cpu")), shipped, atol=1e-4)


def test_losses_of_segmentation():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 4, 20, 24, generator=generator)
    labels = torch.randint(0, 4, (3, 20, 24), generator=generator)
    weights = torch.tensor([0.2, 0.25, 0.3, 0.25])
    expected = published.weighted_cross_entropy(scores, labels, weights) + 0.5 * published.edge_loss(scores, labels)
    assert float(losses.composite_loss(scores, labels, weights, 0.5)) == pytest.approx(float(expected), rel=1e-5)


def test_augmentation_of_a_slice():
    """The same places sampled by grid_sample and by map_coordinates."""
    settings = {
        "rotation_degrees": 20,
        "scale": 0.2,
        "shift_pixels": 3,
        "elastic_pixels": 2,
        "elastic_spacing_pixels": 10,
    }
    grid = sampling_grid(1, (30, 40), settings, torch.Generator().manual_seed(1), torch.device("cpu"))
    draws = np.random.default_rng(0)
    image = draws.uniform(-1, 1, (30, 40)).astype(np.float32)
    expected = F.grid_sample(torch.from_numpy(image)[None, None], grid, padding_mode="border", align_corners=False)
    where = ((grid[0].numpy() + 1) * [40, 30] - 1).T.swapaxes(1, 2)[::-1] / 2
    warped, _ = published.warp(image, np.zeros(image.shape, np.uint8), where, 1.0)
    np.testing.assert_allclose(warped, expected[0, 0].numpy(), atol=1e-4)


def test_contraction_of_a_slice():
    """The places of the library's grid, as indices."""
    y, x = np.indices((30, 40))
    radius = np.hypot(y - 14, x - 20)
    labels = (np.where(radius < 9, 2, 0) - (radius < 5)).astype(np.uint8)
    settings = {"cavity": 1, "wall": 2, "narrowing": [0.5, 0.5]}
    where = published.contracted(np.indices((30, 40)).astype(float), labels, settings, torch.Generator().manual_seed(1))
    moved = np.hypot(*(where - np.array([14, 20]).reshape(2, 1, 1)))
    assert moved[14, 22] == pytest.approx(3, abs=0.05)  # half as far again, within the narrowed cavity
    np.testing.assert_allclose(where[:, radius > 11], np.indices((30, 40))[:, radius > 11], atol=1e-4)


def test_slices_have_the_looks_that_the_settings_ask_for():
    settings = steps.configuration("recipe")["segmentation"]
    config = steps.configuration("recipe")
    looks = {"appearance": names.appearance(config, "segmentation"), "contraction": names.contraction(config)}
    labels = np.zeros((1, 32, 32), np.int64)
    labels[0, 8:24, 8:24], labels[0, 12:20, 12:20] = 2, 1
    image = labels.astype(np.float32) / 2
    plain, changed = (
        next(iter(published.Slices(image, labels, settings | given)))
        for given in ({"appearance": None, "contraction": None}, looks)
    )
    assert plain[0].shape == changed[0].shape == changed[1].shape == (32, 32)
    assert set(np.unique(changed[1])) == {0, 1, 2}
    assert len(np.unique(changed[0])) > 2 * len(np.unique(plain[0].round(1)))  # noise, curves, bias


def test_loader_feeds_a_training():
    settings = {
        "network": "unet",
        "width": 2,
        "depth": 2,
        "dropout": 0.1,
        "batch_size": 3,
        "class_weights": [0.4, 0.6],
        "edge_weight": 0.5,
        "augmentation": {
            "rotation_degrees": 10,
            "scale": 0.1,
            "shift_pixels": 1,
            "log_gamma": 0.5,
            "elastic_pixels": 1,
            "elastic_spacing_pixels": 8,
        },
    }
    labels = np.zeros((4, 16, 16), np.uint8)
    labels[:, 4:12, 4:12] = 1
    images = labels.astype(np.float32) - 0.5
    torch.manual_seed(0)
    training = published.UnetTraining(
        first_network(settings, 2), images, labels, settings, 0.01, torch.device("cpu"), workers=0
    )
    history = [training.step() for _ in range(40)]
    assert np.mean(history[-5:]) < 0.6 * np.mean(history[:5])
