import os
import signal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cardioseg.core import training_loop
from cardioseg.evaluation import metrics
from cardioseg.segmentation import training
from cardioseg.segmentation.cascade import first_network, second_network, with_shape_prior
from cardioseg.segmentation.unet import image_alone, predict
from pretended_graphs import CALLS_BEFORE, pretend
from tiny_trainings import NETWORK
from tiny_trainings import SEGMENTATION as SETTINGS
from tiny_trainings import discs as slices

CPU = torch.device("cpu")


def unet(make=first_network, seed=1):
    torch.manual_seed(seed)
    return make(NETWORK, 3)


APPEARANCE = {
    "own_curves": 0.7,
    "downward": [0.3, 0, 0.3],
    "nulled": {"structure": 2, "blood": 1, "share": [0.1, 0.8]},
    "scar": None,
    "bias": 0.2,
    "noise": 0.1,
    "blur_pixels": 1,
    "percentiles": [1, 99],
}


def fit(network, folder, data=None, *, name="first", seed=5, inputs=image_alone, pseudo=None, **changes):
    settings = SETTINGS | {"epochs": 4, "learning_rate": 0.01, "precision": "float32", "averaging": 0.0} | changes
    run = training_loop.Run(name, seed, CPU, folder, "a")
    return training.fit(network, *(data or slices()), settings, run, inputs=inputs, pseudo=pseudo)


def weights(network):
    return {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 100))
def test_an_epoch_is_every_slice_once(size, count, seed):
    epochs = 3
    iterations = -(-epochs * count // size)
    batches = [training._batch(iteration, size, count, seed) for iteration in range(iterations)]
    assert all(batch.shape == (size,) for batch in batches)
    row = torch.cat(batches)
    for epoch in range(epochs):
        assert row[epoch * count : (epoch + 1) * count].sort().values.tolist() == list(range(count))


def test_epochs_are_shuffled_anew():
    epochs = [tuple(training._batch(epoch, 20, 20, 3).tolist()) for epoch in range(5)]
    assert len(set(epochs)) == 5
    assert tuple(range(20)) not in epochs
    assert tuple(training._batch(0, 20, 20, 4).tolist()) != epochs[0]


@pytest.mark.parametrize(("epochs", "iterations"), [(2, 3), (3, 5)])
def test_sees_each_slice_in_every_epoch(tmp_path, monkeypatch, epochs, iterations):
    seen = []

    def augment(images, labels, *_):
        seen.extend(images[:, 0, 0, 0].tolist())
        return images, labels

    monkeypatch.setattr(training, "augment", augment)
    images, labels = slices()
    images[:, 0, 0] = np.linspace(-1, 1, 6)
    history = fit(unet(), tmp_path, (images, labels), epochs=epochs)
    assert history[-1]["iteration"] == iterations
    assert len(seen) == iterations * SETTINGS["batch_size"]
    for epoch in range(epochs):
        assert sorted(seen[6 * epoch : 6 * (epoch + 1)]) == images[:, 0, 0].tolist()


def test_training_learns_what_new_slices_show(tmp_path):
    network, data = unet(), slices(12)
    history = fit(network, tmp_path, data, epochs=40)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert not network.training
    images, labels = slices(8, seed=9)
    predicted = predict(network, images, CPU).argmax(axis=0)
    assert (predicted == labels).mean() > 0.9


def test_same_seed_gives_the_same_network_and_another_does_not(tmp_path):
    networks = [unet() for _ in range(4)]
    histories = [
        fit(networks[0], tmp_path / "0"),
        fit(networks[1], tmp_path / "1"),
        fit(networks[2], tmp_path / "2", seed=6),
        fit(networks[3], tmp_path / "3", name="other"),
    ]
    assert weights(networks[0]) == weights(networks[1])
    assert histories[0] == histories[1]
    assert len({weights(network)["head.weight"] for network in networks}) == 3


def test_average_is_that_of_weights_and_statistics(tmp_path):
    averaged, plain, states = unet(), unet(), []

    def watched(image):
        states.append({name: tensor.clone() for name, tensor in plain.state_dict().items()})
        return image

    history = fit(plain, tmp_path / "plain", inputs=watched)
    assert fit(averaged, tmp_path / "averaged", averaging=0.75) == history
    after = [*states[1:], plain.state_dict()]
    for name, tensor in averaged.state_dict().items():
        if tensor.is_floating_point():
            expected = after[0][name]
            for state in after[1:]:
                expected = 0.75 * expected + 0.25 * state[name]
            torch.testing.assert_close(tensor, expected)
    assert not torch.equal(averaged.head.weight, plain.head.weight)


@pytest.mark.parametrize(
    ("call", "changes"),
    [
        (1, {}),
        (3, {"averaging": 0.5}),
        (6, {}),
        (3, {"precision": "bfloat16"}),
        (3, {"schedule": "cosine"}),
        (3, {"appearance": APPEARANCE}),
        (3, {"contraction": {"cavity": 1, "wall": 2, "narrowing": [0, 0.5]}}),
        (3, {"pseudo": "guessed"}),
    ],
)
def test_resumed_training_gives_the_weights_of_an_uninterrupted_one(tmp_path, call, changes):
    """Weights, batch-norm statistics, dropout and the order of the slices are all restored."""
    if "pseudo" in changes:
        changes = {"pseudo": guessed(0.7)}
    expected = unet()
    expected_history = fit(expected, tmp_path / "uninterrupted", **changes)
    calls = []

    def terminating(image):
        calls.append(image)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGTERM)
        return image

    with pytest.raises(training_loop.Preempted):
        fit(unet(), tmp_path / "state", inputs=terminating, **changes)
    resumed = unet(seed=2)  # what it starts with no longer matters
    torch.manual_seed(99)
    assert fit(resumed, tmp_path / "state", **changes) == expected_history
    assert weights(resumed) == weights(expected)


@pytest.mark.parametrize("with_pseudo", [False, True])
def test_replayed_steps_are_the_plain_ones(tmp_path, monkeypatch, with_pseudo):
    settings = {"epochs": 3, "schedule": "cosine", "averaging": 0.5, "pseudo": guessed(0.5) if with_pseudo else None}
    plain, network = unet(), unet()
    expected = fit(plain, tmp_path / "plain", **settings)
    replays = pretend(monkeypatch, training)
    history = fit(network, tmp_path / "replayed", **settings)
    assert replays == [len(history) - CALLS_BEFORE]
    for row, wanted in zip(history, expected, strict=True):
        assert row == pytest.approx(wanted, rel=1e-4)
    torch.testing.assert_close(network.state_dict(), plain.state_dict(), rtol=1e-3, atol=1e-5)


def test_bfloat16_stays_near_float32(tmp_path):
    """With factors of 8 bits, a mean over many pixels has two exact digits, and every step adds rounding errors."""
    histories, networks = {}, {}
    for precision in ("float32", "bfloat16", "tf32"):
        networks[precision] = unet()
        history = fit(networks[precision], tmp_path / precision, precision=precision)
        histories[precision] = [row["loss"] for row in history]
        assert {parameter.dtype for parameter in networks[precision].parameters()} == {torch.float32}
    assert histories["bfloat16"] == pytest.approx(histories["float32"], rel=0.03)
    assert histories["bfloat16"] != histories["float32"]
    # TF32 is a GPU's.
    assert weights(networks["tf32"]) == weights(networks["float32"])


@pytest.mark.slow
def test_dice_of_bfloat16_is_within_the_spread_over_seeds(tmp_path):
    images, labels = slices(8, seed=9)
    dice = {}
    for precision in ("float32", "bfloat16"):
        dice[precision] = []
        for seed in range(5, 9):
            network = unet(seed=seed)
            fit(network, tmp_path / f"{precision} {seed}", slices(12), precision=precision, epochs=20, seed=seed)
            seen = predict(network, images, CPU).argmax(axis=0)
            dice[precision].append(np.mean([metrics.dice(seen == label, labels == label) for label in (1, 2)]))
    spread = max(dice["float32"]) - min(dice["float32"])
    assert 0 < spread < 0.1
    assert abs(np.mean(dice["bfloat16"]) - np.mean(dice["float32"])) < spread


def test_second_network_learns_in_bfloat16(tmp_path):
    second = unet(second_network, seed=2)
    before = weights(second)
    fit(second, tmp_path, inputs=with_shape_prior(unet()), epochs=1, precision="bfloat16")
    after = weights(second)
    assert [name for name in after if after[name] == before[name]] == []


def test_first_network_stays_fixed_while_the_second_learns(tmp_path):
    first, second = unet(), unet(second_network, seed=2)
    fit(first, tmp_path / "first", epochs=1)
    before, before_second = weights(first), weights(second)
    first.zero_grad()
    first.train()
    inputs = with_shape_prior(first)
    seen_so_far = []

    def watched(image):
        seen_so_far.append((image, inputs(image)))
        return seen_so_far[-1][1]

    fit(second, tmp_path / "second", inputs=watched, name="second")
    assert weights(first) == before
    assert not first.training
    assert all(parameter.grad is None for parameter in first.parameters())
    after = weights(second)
    unchanged = [name for name in after if after[name] == before_second[name]]
    assert unchanged == []
    # The second network saw the augmented image and the first network's prediction for it.
    image, seen = seen_so_far[-1]
    assert seen.shape == (4, 1 + 3, 16, 16)
    assert torch.equal(seen[:, :1], image)
    with torch.no_grad():
        torch.testing.assert_close(seen[:, 1:], first(image).softmax(dim=1))


def test_pretrained_weights_are_the_start(tmp_path):
    network = unet()
    fit(network, tmp_path / "pretraining", epochs=2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fit(network, tmp_path / "finetuning", epochs=1, learning_rate=1e-5, name="finetuning")
    for name, parameter in network.named_parameters():
        change = (parameter - before[name]).abs().max()
        assert 0 < change < 1e-4
    # The network came from its first training ready to predict, and learns nonetheless.
    assert all(not torch.equal(tensor, before[name]) for name, tensor in network.named_buffers())


def guessed(confidence, count=4):
    """Further slices, background and ring having changed places; the third class has the rest of the probability."""
    images, labels = slices(count, seed=3)
    changed = np.eye(3, dtype=np.float32)[2 - labels]
    rest = np.float32((1 - confidence) / 2)
    return training.PseudoLabelled(images, np.moveaxis(changed * (confidence - rest) + rest, -1, 1))


def test_pseudo_labelled_slices_are_learned_from_beside_the_others(tmp_path, monkeypatch):
    seen = []

    def augment(images, labels, *_):
        seen.append(labels)
        return images, labels

    monkeypatch.setattr(training, "augment", augment)
    history = fit(unet(), tmp_path, epochs=2, pseudo=guessed(0.5))
    assert history[-1]["iteration"] == 2 * (6 + 4) / SETTINGS["batch_size"]
    most_probable, probabilities = torch.cat(seen).split([1, 3], dim=1)
    assert torch.equal(probabilities.argmax(dim=1, keepdim=True).float(), most_probable)
    # In every epoch the labels of six are certain, and those of four are not.
    assert sorted(probabilities.amax(dim=1).mean(dim=(1, 2)).tolist()) == [0.5] * 8 + [1] * 12


def test_pseudo_labels_are_learned_as_far_as_they_are_sure(tmp_path):
    images, labels = slices(8, seed=9)
    agreement = {}
    for confidence in (0.36, 1):
        network = unet()
        fit(network, tmp_path / str(confidence), slices(8), epochs=20, pseudo=guessed(confidence, count=12))
        agreement[confidence] = (predict(network, images, CPU).argmax(axis=0) == labels).mean()
    # Eight slices say otherwise, and are certain.
    assert agreement[1] < 0.4 < 0.5 < agreement[0.36]


def test_pseudo_labelled_slices_keep_their_appearance(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "augment", lambda images, labels, *_: (images, labels))
    monkeypatch.setattr(training.appearance, "randomise", lambda images, *_: torch.full_like(images, 9))
    pseudo, seen = guessed(1), []

    def watched(batch):
        seen.extend(batch[:, 0])
        return batch

    fit(unet(), tmp_path, epochs=2, appearance=APPEARANCE, pseudo=pseudo, inputs=watched)
    kept = [image for image in seen if not (image == 9).all()]
    assert len(seen) == 20
    assert len(kept) == 8
    assert all(any(np.array_equal(image, other) for other in pseudo.images) for image in kept)


def test_the_learning_rate_stays_or_falls_along_half_a_wave():
    assert training.learning_rate_at(0.9, 0.01, "constant") == 0.01
    rates = [training.learning_rate_at(progress, 0.01, "cosine") for progress in (0, 1 / 3, 0.5, 1)]
    assert rates == pytest.approx([0.01, 0.0075, 0.005, 0])


def test_training_sees_the_randomised_appearance(tmp_path, monkeypatch):
    plain = fit(unet(), tmp_path / "plain")
    assert fit(unet(), tmp_path / "randomised", appearance=APPEARANCE) != plain
    monkeypatch.setattr(training.appearance, "randomise", lambda images, *_: images)
    assert fit(unet(), tmp_path / "as it was", appearance=APPEARANCE) == plain


def test_slices_without_structures_can_be_left_out():
    images, labels = slices()
    labels = labels.copy()
    labels[[1, 3]] = 0
    kept, truth = training.with_structures(images, labels)
    rest = [index for index in range(len(images)) if index not in (1, 3)]
    np.testing.assert_array_equal(kept, images[rest])
    np.testing.assert_array_equal(truth, labels[rest])
