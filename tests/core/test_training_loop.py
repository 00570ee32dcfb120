import csv
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from cardioseg.core import checkpoints, devices, training_loop
from cardioseg.core.errors import InputError

ITERATIONS = 12


def run(name, folder, identity="a"):
    return training_loop.Run(name, 1, torch.device("cpu"), folder, identity)


class Problem:
    """A small training whose steps draw only from their number and are counted."""

    def __init__(self, before=lambda iteration: None):
        torch.manual_seed(3)
        self.network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1))
        self.optimiser = torch.optim.Adam(self.network.parameters(), 0.05, fused=True)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimiser, 4, 0.5)
        self.before = before
        self.steps = []

    def step(self, iteration):
        self.steps.append(iteration)
        self.before(iteration)
        data = torch.randn(8, 4, generator=torch.Generator().manual_seed(iteration))
        loss = (self.network(data) - data.sum(dim=1, keepdim=True)).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        return {"loss": loss, "size": loss.detach().sqrt()}

    def train(self, folder, identity="a", iterations=ITERATIONS):
        parts = {"network": self.network, "optimiser": self.optimiser, "schedule": self.schedule}
        self.history = training_loop.train(self.step, parts, iterations, run("problem", folder, identity))
        return self

    def everything(self):
        """All that was learned, as bytes, and the history."""
        tensors = [*self.network.state_dict().values()]
        for state in self.optimiser.state_dict()["state"].values():
            tensors += state.values()
        return [tensor.numpy().tobytes() for tensor in tensors], self.schedule.state_dict(), self.history


@pytest.fixture(autouse=True)
def few_reports(monkeypatch):
    monkeypatch.setattr(training_loop, "REPORTS", 3)  # every fourth iteration: sums are carried over an interruption


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(training_loop, "SAVE_EVERY_S", 0.0)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_loop, "REPORTS", 3)
        return Problem().train(tmp_path_factory.mktemp("uninterrupted")).everything()


def at(*iterations, do):
    return lambda iteration: do() if iteration in iterations else None


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def fail():
    raise RuntimeError("power cut")


def done(folder):
    return checkpoints.load(folder / "state.pt")["done"]


def test_history_is_the_mean_since_the_last_report(tmp_path):
    history = training_loop.train(lambda i: {"loss": torch.tensor(float(i))}, {}, 10, run("x", tmp_path))
    # every third iteration and at the end
    assert history == [
        {"iteration": 3, "loss": 1.0},
        {"iteration": 6, "loss": 4.0},
        {"iteration": 9, "loss": 7.0},
        {"iteration": 10, "loss": 9.0},
    ]


def test_fewer_iterations_than_reports(tmp_path):
    history = training_loop.train(lambda i: {"loss": torch.tensor(float(i))}, {}, 2, run("x", tmp_path))
    assert [row["iteration"] for row in history] == [1, 2]


def test_progress_is_told(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    Problem().train(tmp_path)
    assert len(caplog.messages) == 3
    assert caplog.messages[0].startswith("problem: 4/12  loss ")
    assert "it/s" in caplog.messages[0]
    assert caplog.messages[-1].endswith("0:00:00 left")


def test_same_training_twice_gives_the_same_result(tmp_path, uninterrupted):
    assert Problem().train(tmp_path).everything() == uninterrupted


@pytest.mark.parametrize("iteration", [0, 3, 5, ITERATIONS - 1])
def test_resumes_after_termination(tmp_path, uninterrupted, iteration):
    stopped = Problem(at(iteration, do=terminate))
    with pytest.raises(training_loop.Preempted) as preempted:
        stopped.train(tmp_path)
    assert preempted.value.code == 143
    assert stopped.steps == list(range(iteration + 1))  # the step is finished, and no other begun
    resumed = Problem().train(tmp_path)
    assert resumed.steps == list(range(iteration + 1, ITERATIONS))
    assert resumed.everything() == uninterrupted


def test_interruption_saves_the_state_and_a_second_one_does_not_wait_for_that(tmp_path, uninterrupted):
    with pytest.raises(training_loop.Preempted) as preempted:
        Problem(at(3, do=interrupt)).train(tmp_path)
    assert preempted.value.code == 130
    assert done(tmp_path) == 4
    with pytest.raises(KeyboardInterrupt):
        Problem(at(5, do=lambda: [interrupt(), interrupt()])).train(tmp_path)
    assert done(tmp_path) == 4
    assert Problem().train(tmp_path).everything() == uninterrupted


def test_interruption_that_was_ignored_before_still_is(tmp_path, uninterrupted):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert Problem(at(3, do=interrupt)).train(tmp_path).everything() == uninterrupted
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_resumes_after_many_terminations(tmp_path, uninterrupted):
    for _ in range(4):
        with pytest.raises(training_loop.Preempted):
            Problem(at(1, 2, 6, 9, do=terminate)).train(tmp_path)
    assert Problem(at(1, 2, 6, 9, do=terminate)).train(tmp_path).everything() == uninterrupted


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("iteration", [0, 4, 7])
def test_resumes_after_a_crash(tmp_path, uninterrupted, iteration):
    with pytest.raises(RuntimeError, match="power cut"):
        Problem(at(iteration, do=fail)).train(tmp_path)
    resumed = Problem().train(tmp_path)
    assert resumed.steps == list(range(iteration, ITERATIONS))
    assert resumed.everything() == uninterrupted


def test_state_is_saved_at_intervals(tmp_path, monkeypatch):
    clock = [0.0]

    def tick():
        clock[0] += 50.0

    monkeypatch.setattr(
        training_loop,
        "time",
        SimpleNamespace(monotonic=lambda: clock[0], strftime=lambda *_: "", gmtime=lambda _: None),
    )
    with pytest.raises(RuntimeError):
        Problem(lambda i: (tick(), at(5, do=fail)(i))).train(tmp_path)
    assert done(tmp_path) == 3  # after 150 s; not yet after 250 s


def test_training_starts_again_after_a_crash_before_the_first_save(tmp_path, uninterrupted):
    with pytest.raises(RuntimeError):
        Problem(at(5, do=fail)).train(tmp_path)
    assert not (tmp_path / "state.pt").exists()
    resumed = Problem().train(tmp_path)
    assert resumed.steps[0] == 0
    assert resumed.everything() == uninterrupted


@pytest.mark.usefixtures("often")
def test_resumes_after_a_failed_save(tmp_path, uninterrupted, monkeypatch):
    write = torch.save

    def full(content, file):
        if content["done"] == 6:
            file.write(b"half")
            raise OSError("disk full")
        write(content, file)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(torch, "save", full)
        Problem().train(tmp_path)
    resumed = Problem().train(tmp_path)
    assert resumed.steps[0] == 5
    assert resumed.everything() == uninterrupted


@pytest.mark.usefixtures("often")
def test_finished_training_is_not_repeated(tmp_path, uninterrupted):
    Problem().train(tmp_path)
    again = Problem().train(tmp_path)
    assert again.steps == []
    assert again.everything() == uninterrupted


def test_state_of_another_identity_is_not_continued(tmp_path, uninterrupted, caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(training_loop.Preempted):
        Problem(at(5, do=terminate)).train(tmp_path, identity="another")
    fresh = Problem().train(tmp_path)
    assert fresh.steps[0] == 0
    assert fresh.everything() == uninterrupted
    assert any("starting anew" in message for message in caplog.messages)


def test_damaged_state_is_named(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"half a file")
    with pytest.raises(training_loop.checkpoints.InputError, match=r"state\.pt"):
        Problem().train(tmp_path)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_stops_at_a_loss_that_is_not_finite(tmp_path, uninterrupted, value):
    problem = Problem()

    def poison():
        problem.network[0].weight.data.fill_(value)

    problem.before = at(6, do=poison)
    with pytest.raises(
        FloatingPointError, match=r"problem: loss loss, size is not finite at iteration 7\..*last good state is kept"
    ):
        problem.train(tmp_path)
    assert done(tmp_path) == 6
    assert Problem().train(tmp_path).everything() == uninterrupted


def test_a_loss_that_is_not_finite_is_found_at_the_next_report(tmp_path):
    calls = []

    def step(iteration):
        calls.append(iteration)
        return {"loss": torch.tensor(float("nan") if iteration == 4 else 1.0)}

    with pytest.raises(FloatingPointError, match="iteration 8"):
        training_loop.train(step, {}, ITERATIONS, run("x", tmp_path))
    assert calls[-1] == 7


def test_state_with_nan_is_not_saved_at_termination(tmp_path):
    problem = Problem()

    def poison():
        problem.network[0].weight.data.fill_(float("nan"))
        terminate()

    problem.before = at(5, do=poison)
    with pytest.raises(FloatingPointError):
        problem.train(tmp_path)
    assert not (tmp_path / "state.pt").exists()


@pytest.mark.parametrize("part", ["network", "optimiser"])
def test_state_with_infinite_values_is_not_saved(tmp_path, uninterrupted, part):
    """The losses belong to the weights before the step, so they are finite."""
    problem = Problem()
    step = problem.step

    def spoil(iteration):
        losses = step(iteration)
        if iteration == 5:
            optimiser = problem.optimiser.state[problem.network[0].weight]
            {"network": problem.network[0].weight.data, "optimiser": optimiser["exp_avg"]}[part].fill_(float("inf"))
            terminate()
        return losses

    problem.step = spoil
    with pytest.raises(FloatingPointError, match=f"problem: {part} not finite after iteration 6"):
        problem.train(tmp_path)
    assert not (tmp_path / "state.pt").exists()


@pytest.mark.parametrize("error", [training_loop.Preempted, RuntimeError, None])
def test_signal_handlers_and_lock_are_restored_at_the_end(tmp_path, error):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    problem = Problem(at(2, do={training_loop.Preempted: terminate, RuntimeError: fail, None: lambda: None}[error]))
    if error:
        with pytest.raises(error):
            problem.train(tmp_path)
    else:
        problem.train(tmp_path)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    with (tmp_path / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_lock_is_held_during_the_training(tmp_path):
    def attempt():
        with (tmp_path / "lock").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    assert Problem(at(0, 5, do=attempt)).train(tmp_path).steps == list(range(ITERATIONS))


HOLDER = """
import fcntl, pathlib, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
pathlib.Path(sys.argv[2]).touch()
"""


@pytest.mark.parametrize("killed", [False, True])
def test_waits_for_the_process_that_trains(tmp_path, uninterrupted, killed):
    ended = tmp_path / "ended"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "lock", ended],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    class WhenWaiting(logging.Handler):
        """Ends the process with the lock once the training says that it waits."""

        def emit(self, record):
            if "waiting" in record.getMessage():
                if killed:
                    ended.touch()
                    holder.kill()
                else:
                    holder.stdin.write("\n")
                    holder.stdin.flush()

    handler = WhenWaiting()
    training_loop.log.addHandler(handler)
    level = training_loop.log.level
    training_loop.log.setLevel(logging.INFO)
    try:
        assert holder.stdout.readline() == "held\n"
        problem = Problem(lambda iteration: ended.stat()).train(tmp_path)
        assert problem.everything() == uninterrupted
    finally:
        training_loop.log.removeHandler(handler)
        training_loop.log.setLevel(level)
        holder.kill()
        holder.communicate()


def test_fingerprint_changes_with_settings_and_file_contents(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    settings = {"width": 8, "deep": {"a": 1, "b": [1, 2]}}
    known = training_loop.fingerprint(settings, [one, two])
    assert training_loop.fingerprint({"deep": {"b": [1, 2], "a": 1}, "width": 8}, [str(one), str(two)]) == known
    others = [
        training_loop.fingerprint(settings | {"width": 9}, [one, two]),
        training_loop.fingerprint(settings | {"deep": {"a": 1, "b": [2, 1]}}, [one, two]),
        training_loop.fingerprint(settings, [two, one]),
        training_loop.fingerprint(settings, [one]),
    ]
    (tmp_path / "moved").write_bytes(b"1")
    assert training_loop.fingerprint(settings, [tmp_path / "moved", two]) == known
    one.write_bytes(b"12")
    two.write_bytes(b"")
    others.append(training_loop.fingerprint(settings, [one, two]))
    assert len({known, *others}) == 6


def test_removed_state_is_not_continued(tmp_path):
    folder = tmp_path / "state"
    with pytest.raises(training_loop.Preempted):
        Problem(at(3, do=terminate)).train(folder)
    training_loop.remove_state(folder)
    assert not folder.exists()
    training_loop.remove_state(folder)
    assert Problem().train(folder).steps[0] == 0


def test_state_is_kept_while_another_process_trains_on(tmp_path):
    (tmp_path / "state.pt").touch()
    with (tmp_path / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        training_loop.remove_state(tmp_path)
        assert (tmp_path / "state.pt").exists()
    training_loop.remove_state(tmp_path)
    assert not tmp_path.exists()


def test_a_lock_removed_while_it_was_waited_for_is_not_held(tmp_path, uninterrupted):
    """`remove_state` removes the lock. A later process would lock another file and train at the same time."""
    folder = tmp_path / "state"
    folder.mkdir()
    with (folder / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        class WhenWaiting(logging.Handler):
            def emit(self, record):
                if "waiting" in record.getMessage():
                    training_loop.shutil.rmtree(folder)
                    fcntl.flock(other, fcntl.LOCK_UN)

        handler = WhenWaiting()
        training_loop.log.addHandler(handler)
        level = training_loop.log.level
        training_loop.log.setLevel(logging.INFO)

        def attempt():
            with (folder / "lock").open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

        try:
            assert Problem(at(0, 5, do=attempt)).train(folder).everything() == uninterrupted
        finally:
            training_loop.log.removeHandler(handler)
            training_loop.log.setLevel(level)


def test_written_history_reads_back(tmp_path):
    history = Problem().train(tmp_path / "state").history
    training_loop.write_history(tmp_path / "history.csv", history)
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [{key: json.loads(value) for key, value in row.items()} for row in rows] == history
    training_loop.write_history(tmp_path / "empty.csv", [])
    assert (tmp_path / "empty.csv").read_text().strip() == "iteration"


def test_device_is_chosen_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.choose("cpu") == torch.device("cpu")
    assert devices.choose("auto") == torch.device("cuda")
    assert devices.choose("cuda:1") == torch.device("cuda", 1)


def test_gpu_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.choose("auto") == torch.device("cpu")
    with pytest.raises(InputError, match=r"compute\.device: cuda:1"):
        devices.choose("cuda:1")
