import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch import nn

from cardioseg.core.volumes import Volume
from cardioseg.inference import prediction

CPU = torch.device("cpu")
SETTINGS = {"precision": "float32", "views": None, "slice_smoothing_mm": 0}


class Threshold(nn.Module):
    """Predicts two classes with certainty: brighter than the middle, and the rest."""

    def forward(self, image):
        return torch.cat([-image, image], dim=1) * 20


def impulse(slices=9, at=4):
    """Probabilities of two classes, of which the second is in one slice alone."""
    second = np.zeros((slices, 4, 5), np.float32)
    second[at] = 1
    return np.stack([1 - second, second])


@pytest.mark.parametrize("spacing", [5.0, 10.0])
def test_a_slice_counts_by_its_distance_in_mm(spacing):
    found = prediction.smooth_across_slices(impulse(), spacing, 5.0)[1, :, 0, 0]
    weights = stats.norm.pdf((np.arange(9) - 4) * spacing, scale=5)
    np.testing.assert_allclose(found, weights / weights.sum(), atol=1e-3)


def test_smoothed_probabilities_are_probabilities():
    draws = np.random.default_rng(1).dirichlet(np.ones(4), (7, 3, 3)).astype(np.float32)
    found = prediction.smooth_across_slices(np.moveaxis(draws, -1, 0), 8.0, 6.0)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)
    assert found.dtype == np.float32 and found.min() >= 0


@pytest.mark.parametrize("slices", [1, 2, 6])
def test_slices_that_agree_stay_as_they_are_at_the_ends_too(slices):
    alike = np.repeat(np.random.default_rng(2).dirichlet(np.ones(3), (1, 4, 4)).astype(np.float32), slices, axis=0)
    alike = np.moveaxis(alike, -1, 0)
    np.testing.assert_allclose(prediction.smooth_across_slices(alike, 5.0, 12.0), alike, atol=1e-6)


@pytest.mark.parametrize("place", [0, 1, 4, 5])
def test_the_last_slice_at_either_end_stands_for_those_beyond(place):
    maps = np.zeros((2, 6, 1, 1), np.float32)
    maps[0, place] = 1
    maps[1] = 1 - maps[0]
    expected = ndimage.gaussian_filter1d(maps, 6 / 8, axis=1, mode="nearest", truncate=6)
    np.testing.assert_allclose(prediction.smooth_across_slices(maps, 8.0, 6.0), expected, atol=2e-3)


def test_each_slice_by_itself_without_smoothing():
    np.testing.assert_array_equal(prediction.smooth_across_slices(impulse(), 5.0, 0), impulse())


def test_the_distance_of_slices_is_the_images():
    slices = np.full((9, 16, 16), -1, np.float32)
    slices[4] = 1
    image = Volume(slices, np.diag([1.5, 1.5, 8.0, 1.0]))
    found = prediction.predict(Threshold(), image, SETTINGS | {"slice_smoothing_mm": 6}, CPU)
    expected = prediction.smooth_across_slices(
        prediction.predict(Threshold(), image, SETTINGS, CPU), spacing_mm=8, deviation_mm=6
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert 0.2 < found[1, 4].mean() < 0.6
