import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from cardioseg.inference import pseudo_labels


def sure(labels, confidence=0.8, classes=3):
    """Probabilities (classes, z, y, x) that give each voxel's label a confidence, and the others the rest."""
    rest = (1 - confidence) / (classes - 1)
    return np.where(labels[None] == np.arange(classes).reshape(-1, 1, 1, 1), confidence, rest).astype(np.float32)


def test_a_structure_keeps_its_largest_piece_and_background_takes_the_others():
    labels = np.zeros((3, 8, 8), np.uint8)
    labels[:2, 2:5, 2:5] = 1
    labels[0, 5, 2:5] = 2
    stray = (0, 7, 7)
    labels[stray] = 1
    found = pseudo_labels.in_one_piece(sure(labels))
    expected = sure(labels)
    expected[:, 0, 7, 7] = [0.9, 0, 0.1]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_pieces_join_from_slice_to_slice():
    labels = np.zeros((3, 8, 8), np.uint8)
    labels[:, 2:4, 2:4] = 1
    labels[2, 2:4, 2:7] = 1
    labels[1, 2:4, 6:8] = 1
    np.testing.assert_array_equal(pseudo_labels.in_one_piece(sure(labels)), sure(labels))


def test_nothing_found_stays_as_it_is():
    nothing = sure(np.zeros((2, 4, 4)), 0.9)
    np.testing.assert_array_equal(pseudo_labels.in_one_piece(nothing), nothing)


def test_the_most_probable_class_alone_keeps_its_probability():
    labels = np.random.default_rng(3).integers(3, size=(2, 4, 4))
    found = pseudo_labels.most_probable(sure(labels, 0.6))
    np.testing.assert_array_equal(found, np.float32(0.6) * sure(labels, 1))
    assert found.dtype == np.float32


@given(st.integers(0, 1000))
def test_each_structure_is_one_piece_and_probabilities_sum_to_1(seed):
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(4), (2, 5, 6)).astype(np.float32)
    probabilities = np.moveaxis(probabilities, -1, 0)
    found = pseudo_labels.in_one_piece(probabilities)
    best = probabilities.argmax(axis=0)
    for structure in (1, 2, 3):
        there = (best == structure) & (found[structure] > 0)
        assert ndimage.label(there)[1] == min(1, (best == structure).sum())
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    assert found.dtype == np.float32 and found.min() >= 0
