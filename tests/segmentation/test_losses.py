import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from cardioseg.segmentation.losses import composite_loss, edge_loss, weighted_cross_entropy

WEIGHTS = torch.tensor([0.2, 0.25, 0.3, 0.25], dtype=torch.float64)


def example(seed, count=2, shape=(5, 7)):
    """Scores (float64) and labels."""
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(count, 4, *shape, generator=generator, dtype=torch.float64)
    return scores, torch.randint(4, (count, *shape), generator=generator)


def one_hot(labels):
    return np.moveaxis(np.eye(4)[np.asarray(labels)], -1, 1)


def test_cross_entropy_by_hand():
    # Two pixels: class 0 of weight 1 and probability 1/4, class 1 of weight 3 and probability 1/2.
    scores = torch.log(torch.tensor([[[[0.25, 0.5]], [[0.75, 0.5]]]]))
    loss = weighted_cross_entropy(scores, torch.tensor([[[0, 1]]]), torch.tensor([1.0, 3.0]))
    assert float(loss) == pytest.approx((math.log(4) + 3 * math.log(2)) / 2)


@given(st.integers(0, 1000))
def test_cross_entropy_is_the_papers_sum(seed):
    scores, labels = example(seed)
    exponentials = np.exp(scores.numpy())
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    expected = -(WEIGHTS.numpy().reshape(1, 4, 1, 1) * one_hot(labels) * np.log(probabilities)).sum(axis=1).mean()
    assert float(weighted_cross_entropy(scores, labels, WEIGHTS)) == pytest.approx(expected, rel=1e-12)


def test_edge_loss_by_hand():
    # A single wrong pixel: each filter shows its own weights, 4 (1/8)^2 + 2 (2/8)^2, over 25 pixels.
    labels = torch.zeros(1, 5, 5, dtype=torch.long)
    probabilities = torch.zeros(1, 2, 5, 5, dtype=torch.float64)
    probabilities[0, 0] = 1
    probabilities[0, :, 2, 2] = torch.tensor([0.0, 1.0])
    norm = math.sqrt((4 / 64 + 2 / 16) / 25)
    assert float(edge_loss(probabilities, labels)) == pytest.approx(2 * norm, rel=1e-9)
    # Half as wrong is half the distance: a norm, not its square.
    probabilities[0, :, 2, 2] = 0.5
    assert float(edge_loss(probabilities, labels)) == pytest.approx(norm, rel=1e-9)


@given(st.integers(0, 1000))
def test_edge_loss_is_the_papers_sum(seed):
    scores, labels = example(seed, count=3)
    probabilities = scores.softmax(dim=1)
    expected = 0
    for image, truth in zip(probabilities.numpy(), one_hot(labels), strict=True):
        for structure in (1, 2, 3):
            for axis in (0, 1):
                edges, true_edges = (
                    ndimage.sobel(maps[structure], axis, mode="constant") / 8 for maps in (image, truth)
                )
                expected += math.sqrt(((edges - true_edges) ** 2).mean())
    assert float(edge_loss(probabilities, labels)) == pytest.approx(expected / 3, rel=1e-6)


def test_edge_loss_ignores_the_background_map():
    scores, labels = example(0)
    probabilities = scores.softmax(dim=1)
    changed = probabilities.clone()
    changed[:, 0] = torch.rand(changed[:, 0].shape, dtype=torch.float64)
    assert torch.equal(edge_loss(changed, labels), edge_loss(probabilities, labels))


def test_composite_loss_is_the_weighted_sum():
    scores, labels = example(4)
    parts = weighted_cross_entropy(scores, labels, WEIGHTS), edge_loss(scores.softmax(dim=1), labels)
    assert float(composite_loss(scores, labels, WEIGHTS, 0.5)) == pytest.approx(
        float(parts[0] + 0.5 * parts[1]), rel=1e-12
    )
    assert float(composite_loss(scores, labels, WEIGHTS, 0.0)) == pytest.approx(float(parts[0]), rel=1e-12)


def test_probable_classes_by_hand():
    # One pixel: class 0 of weight 1, probable by 1/4 and predicted by 1/2; class 1 of weight 3, by 3/4 and by 1/2.
    scores = torch.zeros(1, 2, 1, 1)
    loss = weighted_cross_entropy(scores, torch.tensor([0.25, 0.75]).view(1, 2, 1, 1), torch.tensor([1.0, 3.0]))
    assert float(loss) == pytest.approx((0.25 + 3 * 0.75) * math.log(2))
    # A pixel that is wrong by a quarter.
    probabilities = torch.zeros(1, 2, 5, 5, dtype=torch.float64)
    probabilities[:, 0] = 1
    truth = probabilities.clone()
    truth[0, :, 2, 2] = torch.tensor([0.75, 0.25])
    norm = math.sqrt((4 / 64 + 2 / 16) / 25)
    assert float(edge_loss(probabilities, truth)) == pytest.approx(2 * norm / 4, rel=1e-6)


def test_certain_classes_cost_what_labels_cost():
    scores, labels = example(8)
    certain = torch.from_numpy(one_hot(labels))
    loss = composite_loss(scores, labels, WEIGHTS, 0.5)
    assert float(composite_loss(scores, certain, WEIGHTS, 0.5)) == pytest.approx(float(loss), rel=1e-12)


def test_probable_classes_are_learned_as_probabilities():
    truth = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).view(1, 4, 1, 1).expand(1, 4, 5, 7)
    scores = torch.log(truth).clone().requires_grad_()
    composite_loss(scores, truth, torch.ones(4, dtype=torch.float64), 0.5).backward()
    assert scores.grad.abs().max() < 1e-9  # the least loss is at the truth itself
    scores = torch.zeros(1, 4, 5, 7, dtype=torch.float64, requires_grad=True)
    composite_loss(scores, truth, torch.ones(4, dtype=torch.float64), 0.5).backward()
    assert scores.grad.abs().max() > 1e-4


def test_perfect_prediction_costs_nothing():
    labels = example(5)[1]
    scores = 200 * torch.from_numpy(one_hot(labels))
    # Three structures, two directions, and the 1e-12 under the root.
    assert float(edge_loss(scores.softmax(dim=1), labels)) == pytest.approx(6e-6, rel=1e-3)
    assert float(composite_loss(scores, labels, WEIGHTS, 0.5)) < 4e-6


def test_perfect_prediction_has_a_finite_gradient():
    labels = example(5)[1]
    scores = (200 * torch.from_numpy(one_hot(labels))).float().requires_grad_()
    composite_loss(scores, labels, WEIGHTS.float(), 0.5).backward()
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize("edge_weight", [0.0, 0.5])
def test_gradient_is_that_of_finite_differences(edge_weight):
    scores, labels = example(6, shape=(4, 3))
    assert torch.autograd.gradcheck(
        lambda values: composite_loss(values, labels, WEIGHTS, edge_weight), scores.requires_grad_()
    )


def test_edges_have_a_gradient_through_the_soft_prediction():
    scores, labels = example(7)
    scores.requires_grad_()
    edge_loss(scores.softmax(dim=1), labels).backward()
    assert (scores.grad.abs().amax(dim=(2, 3)) > 0).all()
    # Against the gradient is down.
    stepped = (scores - 1e-2 * scores.grad).softmax(dim=1)
    assert edge_loss(stepped, labels) < edge_loss(scores.softmax(dim=1), labels)


def test_loss_depends_on_neither_batch_nor_image_size():
    scores, labels = example(8, count=1, shape=(20, 20))
    once = composite_loss(scores, labels, WEIGHTS, 0.5)
    twice = composite_loss(scores.expand(3, -1, -1, -1), labels.expand(3, -1, -1), WEIGHTS, 0.5)
    assert float(twice) == pytest.approx(float(once), rel=1e-12)
    tiled = composite_loss(scores.tile(1, 1, 4, 4), labels.tile(1, 4, 4), WEIGHTS, 0.5)
    assert float(tiled) == pytest.approx(float(once), rel=0.1)
