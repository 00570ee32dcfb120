import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardioseg.inference import uncertainty


def voxel(*probabilities):
    """Probabilities of one voxel, (classes, 1, 1, 1)."""
    return np.array(probabilities, np.float32).reshape(-1, 1, 1, 1)


def of(*members):
    maps = uncertainty.maps(members)
    assert maps.shape == (2, 1, 1, 1)
    assert maps.dtype == np.float32
    return maps[:, 0, 0, 0]


def test_maps_of_known_probabilities():
    certain, other, uniform = voxel(1, 0, 0, 0), voxel(0, 1, 0, 0), voxel(0.25, 0.25, 0.25, 0.25)
    np.testing.assert_allclose(of(certain, certain), [0, 0], atol=1e-6)
    # All agree that nothing is known: no disagreement.
    np.testing.assert_allclose(of(uniform, uniform), [1, 0], atol=1e-6)
    # Sure of different classes: log 2 / log 4, all of it disagreement.
    np.testing.assert_allclose(of(certain, other), [0.5, 0.5], atol=1e-6)
    # Two classes, p = 3/4: (log 4 - 3/4 log 3) / log 2; members 1 and 1/2 have the mean entropy 1/2.
    np.testing.assert_allclose(of(voxel(1, 0), voxel(0.5, 0.5)), [0.811278, 0.311278], atol=1e-6)


def test_one_member_has_no_mutual_information():
    entropy, information = of(voxel(0.9, 0.1))
    assert entropy == pytest.approx(0.468996, abs=1e-6)
    assert information == 0


def test_mutual_information_is_the_mean_divergence_from_the_mean():
    members = np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 2, 3, 5)).transpose(0, 4, 1, 2, 3)
    mean = members.mean(axis=0)
    divergence = (members * np.log(members / mean)).sum(axis=1).mean(axis=0) / np.log(3)
    np.testing.assert_allclose(uncertainty.maps(list(members))[1], divergence, atol=1e-6)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 4))
def test_information_is_at_most_entropy_and_entropy_at_most_1(seed, classes, count):
    members = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), size=(count, 6)).transpose(0, 2, 1)
    entropy, information = uncertainty.maps(list(members.reshape(count, classes, 1, 2, 3).astype(np.float32)))
    assert (information >= 0).all()
    assert (information <= entropy + 1e-6).all()
    assert (entropy <= 1 + 1e-6).all()
