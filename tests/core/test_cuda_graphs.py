import copy

import pytest
import torch
from torch import nn

from cardioseg.core import cuda_graphs
from cardioseg.core.cuda_graphs import RepeatedStep, side_by_side
from pretended_graphs import CALLS_BEFORE, Pretended, pretend

CPU = torch.device("cpu")
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def training(device=CPU, capture=True, kind=RepeatedStep):
    """A network with the step that trains it."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 3)).to(device)
    optimiser = torch.optim.Adam(network.parameters(), fused=True)

    def step(image, wanted):
        loss = (network(image) - wanted).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return {"loss": loss.detach(), "half": loss.detach() / 2}

    return network, optimiser, kind(step, [optimiser], device, capture)


def images(index, device=CPU):
    draws = torch.Generator().manual_seed(index)
    return (torch.randn(2, 1, 8, 8, generator=draws).to(device), torch.randn(2, 1, 4, 4, generator=draws).to(device))


def history(repeated, steps, device=CPU):
    """The losses of steps whose learning rate falls. They are kept as they are returned, and read at the end."""
    losses = [repeated(0.01 / (1 + index // 3), *images(index, device)) for index in steps]
    return [{name: float(loss) for name, loss in row.items()} for row in losses]


def test_replayed_steps_are_the_plain_ones(monkeypatch):
    replays = pretend(monkeypatch)
    (plain, _, step), (network, _, repeated) = training(), training(kind=Pretended)
    expected, found = history(step, range(10)), history(repeated, range(10))
    assert replays == [10 - CALLS_BEFORE]
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted, rel=1e-5)
    torch.testing.assert_close(network.state_dict(), plain.state_dict())


def test_nothing_is_captured_without_a_gpu(monkeypatch):
    replays = pretend(monkeypatch)
    history(training()[2], range(10))
    assert not replays


@pytest.mark.parametrize("kind", [RepeatedStep, Pretended])
def test_state_after_replays_continues_without_them_and_with_them(monkeypatch, kind):
    pretend(monkeypatch)
    (_, _, step), (network, optimiser, repeated) = training(), training(kind=Pretended)
    expected = history(step, range(12))
    history(repeated, range(5))
    state = copy.deepcopy((network.state_dict(), optimiser.state_dict()))
    network, optimiser, repeated = training(kind=kind)
    network.load_state_dict(state[0])
    optimiser.load_state_dict(state[1])
    for row, wanted in zip(history(repeated, range(5, 12)), expected[5:], strict=True):
        assert row == pytest.approx(wanted, rel=1e-5)


def test_failed_capture_is_said_and_the_steps_go_on(monkeypatch, caplog):
    def failing(*_):
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        finally:  # a graph's end fails after what made it fail
            raise RuntimeError("capture ended")

    monkeypatch.setattr(cuda_graphs, "_captured", failing)
    (_, _, step), (_, optimiser, repeated) = training(), training(kind=Pretended)
    assert history(repeated, range(6)) == history(step, range(6))
    (message,) = caplog.messages
    assert "operation not permitted when stream is capturing)" in message
    assert not optimiser.param_groups[0]["capturable"]


def test_calls_side_by_side_return_in_their_order():
    assert side_by_side(lambda: 1, lambda: (2, 3), lambda: None) == [1, (2, 3), None]


@on_a_gpu
def test_captured_steps_are_the_plain_ones():
    device = torch.device("cuda")
    (plain, _, step), (network, optimiser, repeated) = training(device, capture=False), training(device)
    expected, found = history(step, range(20), device), history(repeated, range(20), device)
    assert repeated._replay is not None
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted, rel=1e-4)
    torch.testing.assert_close(network.state_dict(), plain.state_dict(), rtol=1e-3, atol=1e-5)
    # The state continues without a graph and with another.
    state = copy.deepcopy((network.state_dict(), optimiser.state_dict()))
    rows = history(step, range(20, 30), device)
    for capture in (False, True):
        network, optimiser, repeated = training(device, capture)
        network.load_state_dict(state[0])
        optimiser.load_state_dict(copy.deepcopy(state[1]))
        for row, wanted in zip(history(repeated, range(20, 30), device), rows, strict=True):
            assert row == pytest.approx(wanted, rel=1e-3)


@on_a_gpu
def test_replayed_dropout_drops_what_the_plain_one_drops():
    device = torch.device("cuda")
    values = torch.rand(64, 64, device=device) + 1

    def dropped(capture):
        weight = torch.zeros(1, device=device, requires_grad=True)
        optimiser = torch.optim.Adam([weight], fused=True)

        def step(values):
            optimiser.zero_grad(set_to_none=True)
            kept = nn.functional.dropout(values, 0.5)
            (weight + kept.sum()).sum().backward()
            optimiser.step()
            return {"place": (kept * places).sum(), "count": (kept > 0).float().sum()}

        repeated = RepeatedStep(step, [optimiser], device, capture)
        rows = []
        for seed in (0, 1, 2, 3, 4, 5, 4, 3, 2, 1):
            torch.manual_seed(seed)
            rows.append({name: float(value) for name, value in repeated(0.1, values).items()})
        assert (repeated._replay is not None) is capture
        return rows

    places = torch.arange(64 * 64, device=device, dtype=torch.float32).view(64, 64) / 64**2
    found = dropped(True)
    assert len({row["place"] for row in found}) == 6
    for row, wanted in zip(found, dropped(False), strict=True):
        assert row == pytest.approx(wanted, rel=1e-5)


@on_a_gpu
def test_branches_of_a_graph_have_the_gradients_of_calls_one_after_the_other():
    device = torch.device("cuda")
    weights = [torch.randn(300, 300, device=device, requires_grad=True) for _ in range(2)]
    values = torch.randn(300, 300, device=device)

    def step():
        first, second = side_by_side(lambda: (values @ weights[0]).tanh(), lambda: (values @ weights[1]).tanh())
        again, other = side_by_side(lambda: (second @ weights[0]).tanh(), lambda: (first @ weights[1]).tanh())
        gradients = torch.autograd.grad((again * other).sum(), weights)
        return torch.stack([*gradients])

    expected = step()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    replay = cuda_graphs._captured(step, stream)
    for _ in range(3):
        torch.testing.assert_close(replay(), expected, rtol=1e-3, atol=1e-3)
