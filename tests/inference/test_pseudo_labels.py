import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from cardioseg.inference import pseudo_labels


def sure(labels, confidence=0.8, classes=3):
    """Probabilities (classes, z, y, x) that give each voxel's label a confidence, and the others the rest."""
    rest = (1 - confidence) / (classes - 1)
    return np.where(labels[None] == np.arange(classes).reshape(-1, 1, 1, 1), confidence, rest).astype(np.float32)


def test_a_structure_keeps_its_largest_piece_and_is_trusted_by_its_probability():
    labels = np.zeros((3, 8, 8), np.uint8)
    labels[:2, 2:5, 2:5] = 1
    labels[0, 5, 2:5] = 2
    stray = (0, 7, 7)
    labels[stray] = 1
    cleaned, trust = pseudo_labels.of(sure(labels), 0)
    labels[stray] = 0
    np.testing.assert_array_equal(cleaned, labels)
    expected = np.full(labels.shape, 0.8, np.float32)
    # Where the stray piece was, background had but this much.
    expected[stray] = 0.1
    np.testing.assert_allclose(trust, expected, atol=1e-6)


def test_pieces_join_from_slice_to_slice():
    labels = np.zeros((3, 8, 8), np.uint8)
    labels[:, 2:4, 2:4] = 1
    labels[2, 2:4, 2:7] = 1
    labels[1, 2:4, 6:8] = 1
    np.testing.assert_array_equal(pseudo_labels.of(sure(labels), 0)[0], labels)


def test_labels_of_less_confidence_are_not_trusted():
    probabilities = np.array([[0.2, 0.45, 0.1], [0.7, 0.55, 0.5], [0.1, 0.0, 0.4]]).reshape(3, 1, 1, 3)
    labels, trust = pseudo_labels.of(probabilities, 0.55)
    assert labels.ravel().tolist() == [1, 1, 1]
    np.testing.assert_allclose(trust.ravel(), [0.7, 0.55, 0])


def test_nothing_found_is_background_everywhere():
    labels, trust = pseudo_labels.of(sure(np.zeros((2, 4, 4)), 0.9), 0.5)
    assert not labels.any()
    np.testing.assert_allclose(trust, 0.9)


@given(st.integers(0, 1000), st.floats(0, 1))
def test_each_structure_is_one_piece_and_trust_is_a_probability(seed, least):
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(4), (2, 5, 6)).astype(np.float32)
    probabilities = np.moveaxis(probabilities, -1, 0)
    labels, trust = pseudo_labels.of(probabilities, least)
    best = probabilities.argmax(axis=0)
    for structure in (1, 2, 3):
        assert ndimage.label(labels == structure)[1] == min(1, (best == structure).sum())
    assert set(labels[labels != best]) <= {0}
    assert ((trust == 0) | ((trust >= np.float32(least)) & (trust <= 1))).all()
