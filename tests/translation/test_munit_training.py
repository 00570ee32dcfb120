import os
import signal

import numpy as np
import pytest
import torch
from scipy import stats

from cardioseg.core import checkpoints, training_loop
from cardioseg.translation import munit, munit_training
from pretended_graphs import CALLS_BEFORE, pretend
from tiny_trainings import SOURCE, TARGET, noise
from tiny_trainings import TRANSLATION as SETTINGS

CPU = torch.device("cpu")


def train(folder, seed=1, **changes):
    run = training_loop.Run("translation", seed, CPU, folder, "a")
    return munit_training.train([SOURCE[:2], SOURCE[2:]], [TARGET], SETTINGS | changes, run)


def weights(network):
    return {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}


@pytest.fixture
def watched(monkeypatch):
    """What each iteration is given."""
    calls, step = [], munit.step

    def watch(network, optimisers, source, target, styles, *rest):
        rates = [optimiser.param_groups[0]["lr"] for optimiser in optimisers]
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        call = {"images": (source, target), "styles": [*styles[0], *styles[1]], "rates": rates, "weights": before}
        calls.append(call)
        return step(network, optimisers, source, target, styles, *rest)

    monkeypatch.setattr(munit, "step", watch)
    return calls


def test_history_records_every_loss(tmp_path):
    history = train(tmp_path)[1]
    assert [row["iteration"] for row in history] == [1, 2, 3]
    losses = {"discriminator", "generator", "adversarial", "image", "style", "content", "cycle"}
    assert all(row.keys() == {"iteration", *losses} for row in history)
    row = history[0]
    weighted = sum(weight * row[name] for name, weight in SETTINGS["weights"].items())
    assert row["generator"] == pytest.approx(weighted, rel=1e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_generators_start_equal_only_if_the_start_is_shared(tmp_path, watched, shared):
    train(tmp_path, shared_start=shared)
    first, last = watched[0]["weights"], watched[-1]["weights"]
    names = [name.removeprefix("source.") for name in first if name.startswith("source.") and "weight" in name]
    equal = [torch.equal(first[f"source.{name}"], first[f"target.{name}"]) for name in names]
    assert all(equal) if shared else not any(equal)
    assert not torch.equal(last["source.decode.head.weight"], last["target.decode.head.weight"])


def test_returned_weights_are_the_running_average(tmp_path, watched):
    averaged = train(tmp_path / "averaged", averaging=0.75)[0].state_dict()
    final = train(tmp_path / "plain")[0].state_dict()
    after = [watched[1]["weights"], watched[2]["weights"], final]
    for name, tensor in averaged.items():
        expected = 0.75 * (0.75 * after[0][name] + 0.25 * after[1][name]) + 0.25 * after[2][name]
        torch.testing.assert_close(tensor, expected)
    assert not torch.equal(averaged["target.decode.head.weight"], final["target.decode.head.weight"])


def test_same_seed_gives_the_same_network_and_another_does_not(tmp_path):
    networks = [train(tmp_path / str(index), seed)[0] for index, seed in enumerate((1, 1, 2))]
    assert weights(networks[0]) == weights(networks[1])
    assert weights(networks[0])["source.content.stem.weight"] != weights(networks[2])["source.content.stem.weight"]


@pytest.mark.parametrize(("iteration", "precision"), [(0, "float32"), (1, "float32"), (1, "bfloat16")])
def test_resumed_training_equals_an_uninterrupted_one(tmp_path, monkeypatch, iteration, precision):
    expected, expected_history = train(tmp_path / "uninterrupted", averaging=0.5, precision=precision)
    step, calls = munit.step, []

    def terminating(*arguments):
        calls.append(arguments)
        if len(calls) == 1 + iteration:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*arguments)

    with monkeypatch.context() as patch, pytest.raises(training_loop.Preempted):
        patch.setattr(munit, "step", terminating)
        train(tmp_path / "state", averaging=0.5, precision=precision)
    resumed, history = train(tmp_path / "state", averaging=0.5, precision=precision)
    assert history == expected_history
    assert weights(resumed) == weights(expected)


def test_replayed_iterations_are_the_plain_ones(tmp_path, monkeypatch):
    settings = {"iterations": 7, "averaging": 0.5}
    plain, expected = train(tmp_path / "plain", **settings)
    replays = pretend(monkeypatch, munit_training)
    network, history = train(tmp_path / "replayed", **settings)
    assert replays == [7 - CALLS_BEFORE]
    for row, wanted in zip(history, expected, strict=True):
        assert row == pytest.approx(wanted, rel=1e-4)
    for name, tensor in plain.state_dict().items():
        if tensor.dim() > 1:  # a bias before a norm has a gradient of rounding alone
            torch.testing.assert_close(network.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)


def test_every_iteration_has_its_own_images_and_styles(tmp_path, watched):
    train(tmp_path)
    for call in watched:
        for images, known in zip(call["images"], (SOURCE, TARGET), strict=True):
            assert images.shape == (2, 1, 32, 32)
            for image in images[:, 0].numpy():
                assert any(np.array_equal(image, other) or np.array_equal(image[:, ::-1], other) for other in known)
    styles = [style for call in watched for style in call["styles"]]
    assert all(style.shape == (2, 3) for style in styles)
    assert len({tuple(row.tolist()) for style in styles for row in style}) == 3 * 4 * 2


def test_learning_rate_is_halved_in_steps(tmp_path, watched):
    train(tmp_path, iterations=5)
    assert [call["rates"] for call in watched] == [[rate, rate] for rate in (1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4)]


def test_batches_take_every_slice_and_flip_half_of_them():
    images = torch.arange(5.0).view(5, 1, 1, 1) + torch.tensor([0.0, 0.25]).view(1, 1, 1, 2)
    draws = torch.Generator().manual_seed(0)
    batches = [munit_training._take(images, *munit_training._draw(len(images), 4, draws)) for _ in range(500)]
    batch = torch.cat(batches).view(2000, 2)
    flipped = batch[:, 0] > batch[:, 1]
    assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(batch.diff(dim=1)[:, 0], torch.where(flipped, -0.25, 0.25))
    counts = batch.floor()[:, 0].long().bincount()
    assert counts.shape == (5,)
    assert counts.min() > 330


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return munit.Munit(SETTINGS["generator"], SETTINGS["discriminator"])


def test_synthesis_is_the_targets_decoder_on_the_sources_content(network):
    images = noise(11, 2)
    styles = munit_training.sample_styles(network, 1, "7", 2)
    rendered = munit_training.synthesise(network, images, styles, CPU)
    assert (rendered.shape, rendered.dtype) == ((2, *images.shape), np.float32)
    assert np.abs(rendered).max() <= 1
    assert np.array_equal(munit_training.synthesise(network, images, styles, CPU), rendered)
    for style, volume in zip(styles, rendered, strict=True):
        for image, result in zip(images, volume, strict=True):
            with torch.no_grad():
                content = network.source.content(torch.from_numpy(image)[None, None])
                expected = network.target.decode(content, torch.from_numpy(style)[None])[0, 0]
            np.testing.assert_allclose(result, expected.numpy(), atol=1e-5)
    assert np.abs(rendered[0] - rendered[1]).max() > 1e-2


def test_each_volume_and_sample_has_a_style_of_its_own(network):
    known = munit_training.sample_styles(network, 1, "7", 2)
    assert (known.shape, known.dtype) == ((2, 3), np.float32)
    others = [munit_training.sample_styles(network, *which, 11) for which in ((2, "7"), (1, "8"), (1, "71"), (1, "7"))]
    assert np.array_equal(others[-1][:2], known)
    assert len({tuple(style) for styles in others for style in styles.tolist()}) == 4 * 11


def test_styles_are_standard_normal(network):
    styles = np.concatenate([munit_training.sample_styles(network, 1, str(patient), 5) for patient in range(200)])
    assert stats.kstest(styles.ravel(), "norm").pvalue > 0.01
    assert np.abs(np.corrcoef(styles.T) - np.eye(3)).max() < 0.2


def test_network_is_loaded_as_it_was_saved(network, tmp_path):
    checkpoints.save_weights(tmp_path / "network.pt", network)
    assert weights(munit_training.load(SETTINGS, tmp_path / "network.pt")) == weights(network)
