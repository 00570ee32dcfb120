import numpy as np
import pytest
import torch
from torch import nn

from cardioseg.inference import views
from cardioseg.segmentation import unet

CPU = torch.device("cpu")
AS_IT_IS = {"rotation_degrees": 0, "scale": 1, "gamma": 1}


class Threshold(nn.Module):
    """Predicts two classes with certainty: brighter than the middle, and the rest."""

    def forward(self, image):
        return torch.cat([-image, image], dim=1) * 20


def smooth(seed=0, size=32):
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, 3, 5, 5), generator=draws) * 2 - 1
    return nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(-1, 1)[0].numpy()


@pytest.mark.parametrize("none", [None, []])
def test_without_views_the_prediction_is_the_networks(none):
    found = views.predict(Threshold(), smooth(), CPU, none)
    np.testing.assert_allclose(found, unet.predict(Threshold(), smooth(), CPU), atol=1e-6)


@pytest.mark.parametrize("view", [AS_IT_IS, {"rotation_degrees": 90}, {"rotation_degrees": 180}])
def test_a_view_that_moves_pixels_onto_pixels_changes_nothing(view):
    found = views.predict(Threshold(), smooth(), CPU, [AS_IT_IS | view])
    np.testing.assert_allclose(found, unet.predict(Threshold(), smooth(), CPU), atol=1e-4)


@pytest.mark.parametrize("view", [{"rotation_degrees": 20}, {"scale": 1.2}, {"scale": 0.8}])
def test_predictions_of_a_view_are_turned_back(view):
    disc = np.hypot(*np.mgrid[-15.5:16, -15.5:16] - np.array([4, -3]).reshape(2, 1, 1)) < 6
    image = np.where(disc, 1, -1).astype(np.float32)[None]
    found = views.predict(Threshold(), image, CPU, [AS_IT_IS | view]).argmax(axis=0)[0]
    assert (found != disc).mean() < 0.02


def test_a_view_sees_the_slices_enlarged_turned_and_darkened(monkeypatch):
    seen = []

    def network(_, images, device, exactness):
        seen.append(images)
        return np.full((2, *images.shape), 0.5, np.float32)

    monkeypatch.setattr(unet, "predict", network)
    image = np.full((1, 32, 32), -1, np.float32)
    image[0, 12:20, 14:18] = 0
    views.predict(Threshold(), image, CPU, [{"rotation_degrees": 90, "scale": 2, "gamma": 2}])
    block = seen[0][1] > -0.9
    assert (block.any(axis=1).sum(), block.any(axis=0).sum()) == pytest.approx((8, 16), abs=2)
    assert seen[0][1].max() == pytest.approx(2 * 0.5**2 - 1, abs=1e-3)


@pytest.mark.parametrize("scale", [0.5, 2])
def test_a_view_enlarges_by_its_scale(scale, monkeypatch):
    seen = []
    network = lambda _, images, *__: seen.append(images) or np.full((2, *images.shape), 0.5, np.float32)  # noqa: E731
    monkeypatch.setattr(unet, "predict", network)
    image = np.full((1, 32, 32), -1, np.float32)
    image[0, 12:20, 12:20] = 1
    views.predict(Threshold(), image, CPU, [AS_IT_IS | {"scale": scale}])
    assert np.sqrt((seen[0][1] > 0).sum()) == pytest.approx(8 * scale, abs=1)


@pytest.mark.parametrize("view", [{"rotation_degrees": 45}, {"scale": 0.5}])
def test_a_view_goes_on_beyond_the_edge_as_at_the_edge(view, monkeypatch):
    seen = []
    network = lambda _, images, *__: seen.append(images) or np.full((2, *images.shape), 0.5, np.float32)  # noqa: E731
    monkeypatch.setattr(unet, "predict", network)
    views.predict(Threshold(), np.full((1, 32, 32), 0.7, np.float32), CPU, [AS_IT_IS | view])
    np.testing.assert_allclose(seen[0], 0.7, atol=1e-5)


def test_the_mean_sums_to_one():
    found = views.predict(Threshold(), smooth(), CPU, [AS_IT_IS | {"rotation_degrees": 33, "scale": 0.7}])
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    assert found.dtype == np.float32
