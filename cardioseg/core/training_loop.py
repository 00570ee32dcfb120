"""The loop around every long training: progress, history, checkpoints, resumption, a clean stop on SIGTERM and Ctrl-C.

A step must depend on nothing but the iteration number and the state of what is trained (it derives its own random
draws), so that a resumed run gives what an uninterrupted one gives.
"""

import csv
import fcntl
import hashlib
import json
import logging
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Protocol

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cardioseg.core import checkpoints

log = logging.getLogger(__name__)

SAVE_EVERY_S = 120.0
REPORTS = 50
_ADVICE = "The last good state is kept; lower the learning rate or look at the input images."


class Stateful(Protocol):
    """What a checkpoint must hold: networks, optimisers, schedulers."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


@dataclass(frozen=True)
class Run:
    """Which training it is, and where it computes and keeps its state.

    Attributes
    ----------
    name : str
        The training's name in the log, in errors and among the purposes of its random draws.
    seed : int
        The seed that all of its draws are derived from.
    device : torch.device
        Where it computes.
    state_folder : Path
        Where its state is kept until its result is safe.
    identity : str
        A state is continued only by a run of the same identity, see `fingerprint`.
    cuda_graphs : bool
        Whether a GPU repeats its steps as CUDA graphs, see `cuda_graphs`.
    """

    name: str
    seed: int
    device: torch.device
    state_folder: Path
    identity: str
    cuda_graphs: bool = True


class Preempted(SystemExit):
    """SIGTERM or SIGINT came; the state is saved and the same command continues from it."""


def running_average(network: nn.Module, share: float) -> AveragedModel | None:
    """Make a running average of a network's weights and statistics.

    It reduces the noise that steps at a constant learning rate leave in the result of a short training.

    Parameters
    ----------
    network : Module
        The network.
    share : float
        Share of the past in the average, in [0, 1).

    Returns
    -------
    AveragedModel or None
        The average; None for a share of 0.
    """
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(share), use_buffers=True) if share else None


def fingerprint(settings: Mapping[str, Any], files: Iterable[Path | str]) -> str:
    """Identify a training by its settings and inputs.

    Parameters
    ----------
    settings : mapping
        Plain values.
    files : iterable of Path or str
        Input files, whose order and contents count.

    Returns
    -------
    str
        A hash in hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in files:
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()


def train(
    step: Callable[[int], dict[str, torch.Tensor]],
    parts: Mapping[str, Stateful],
    iterations: int,
    run: Run,
) -> list[dict[str, float]]:
    """Take all steps of a training, continuing from the state in its folder if that has the same identity.

    One process at a time works in a folder. The caller removes the folder (`remove_state`) once its result is safe.

    Parameters
    ----------
    step : callable
        Takes the iteration's number, from 0, makes one optimisation step and returns its losses as scalars on the
        device.
    parts : mapping of str to Stateful
        Everything that learns, by name.
    iterations : int
        Number of steps.
    run : Run
        Which training it is; its folder holds the state.

    Returns
    -------
    list of dict
        The history: one row a report, with `iteration` and the mean of each loss since the last report.

    Raises
    ------
    Preempted
        After SIGTERM or SIGINT (Ctrl-C), once the state is saved. A second SIGINT ends the process at once.
    FloatingPointError
        As soon as a reported loss is not finite; the last good state is kept.
    InputError
        If the state's file is damaged.
    """
    name, path = run.name, run.state_folder / "state.pt"
    with _only_process(run.state_folder), _termination() as terminated:
        first, since, sums, history = _restore(path, parts, run.identity)
        if first:
            log.info("%s: continues after iteration %d of %d", name, first, iterations)
        every = max(1, iterations // REPORTS)
        began = saved = time.monotonic()
        for done in range(first + 1, iterations + 1):
            for key, value in step(done - 1).items():
                sums[key] = sums[key] + value.detach() if key in sums else value.detach()
            since += 1
            if done % every == 0 or done == iterations:
                losses = {key: float(value) / since for key, value in sums.items()}
                _check_finite(name, done, losses)
                history.append({"iteration": done, **losses})
                sums, since = {}, 0
                _report(name, done, iterations, losses, (time.monotonic() - began) / (done - first))
            if terminated() or time.monotonic() - saved > SAVE_EVERY_S:
                learnt = {key: part.state_dict() for key, part in parts.items()}
                _check_finite(name, done, {key: float(value) for key, value in sums.items()})
                _check_learnt(name, done, learnt)
                state = {"identity": run.identity, "done": done, "since": since, "sums": sums, "history": history}
                checkpoints.save(path, state | {"parts": learnt})
                saved = time.monotonic()
                if terminated():
                    log.info(
                        "%s: stopped at iteration %d, its state saved; the same command continues from there",
                        name,
                        done,
                    )
                    raise Preempted(128 + terminated())
    return history


def remove_state(state_folder: Path) -> None:
    """Remove a finished training's state, unless another process continues it and will remove it in the end.

    Parameters
    ----------
    state_folder : Path
        The folder of the state.
    """
    if state_folder.exists():
        with (state_folder / "lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            shutil.rmtree(state_folder, ignore_errors=True)


def write_history(path: Path | str, history: list[dict[str, float]]) -> None:
    """Write a history as CSV, one row per report.

    Parameters
    ----------
    path : Path or str
        The file.
    history : list of dict
        As from `train`.
    """
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]) if history else ["iteration"])
        writer.writeheader()
        writer.writerows(history)


def _restore(
    path: Path, parts: Mapping[str, Stateful], identity: str
) -> tuple[int, int, dict[str, torch.Tensor], list[dict[str, float]]]:
    """Return iterations done, those since the last report, their summed losses and the history; empty without state."""
    if not path.exists():
        return 0, 0, {}, []
    state = checkpoints.load(path)
    if state["identity"] != identity:
        log.info("the state in %s belongs to another configuration, code or input: starting anew", path.parent)
        return 0, 0, {}, []
    for key, part in parts.items():
        part.load_state_dict(state["parts"][key])
    return state["done"], state["since"], state["sums"], state["history"]


@contextmanager
def _only_process(folder: Path) -> Iterator[None]:
    """Make the folder and hold its lock; the operating system releases it when the process ends, however it ends."""
    path = folder / "lock"
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("another process trains in %s: waiting for it to end", folder)
                fcntl.flock(file, fcntl.LOCK_EX)
            # The process that held the lock may have removed the folder. This lock then keeps nobody out.
            if _in_place(file, path):
                yield
                return


def _in_place(file: IO, path: Path) -> bool:
    """Return whether an open file is still the one at that path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _termination() -> Iterator[Callable[[], int]]:
    """Turn SIGTERM and SIGINT into a question that the loop asks, and restore the handlers afterwards.

    The answer is the number of the signal, 0 without one.
    """
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    # A shell lets what runs in the background ignore Ctrl-C.
    previous = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}

    def receive(number: int, frame: Any) -> None:
        received.append(number)
        # Saving may take long: whoever presses Ctrl-C again does not want to wait. SIGTERM comes twice of itself.
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    try:
        for number in previous:
            signal.signal(number, receive)
        yield lambda: received[0] if received else 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _check_finite(name: str, iteration: int, losses: Mapping[str, float]) -> None:
    bad = [key for key, value in losses.items() if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(f"{name}: loss {', '.join(bad)} is not finite at iteration {iteration}. {_ADVICE}")


def _check_learnt(name: str, iteration: int, state: Mapping[str, Any]) -> None:
    """Check weights, which may not be finite although the losses of the last step are."""
    bad = [key for key, value in state.items() if not _all_finite(value)]
    if bad:
        raise FloatingPointError(f"{name}: {', '.join(bad)} not finite after iteration {iteration}. {_ADVICE}")


def _all_finite(state: Any) -> bool:
    """Return whether every number in the floating-point tensors of nested dictionaries and lists is finite."""
    if isinstance(state, torch.Tensor):
        return not state.is_floating_point() or bool(state.isfinite().all())
    if isinstance(state, Mapping):
        return all(map(_all_finite, state.values()))
    return all(map(_all_finite, state)) if isinstance(state, list | tuple) else True


def _report(name: str, done: int, iterations: int, losses: Mapping[str, float], seconds: float) -> None:
    shown = "  ".join(f"{key} {value:.4g}" for key, value in losses.items())
    left = timedelta(seconds=round((iterations - done) * seconds))
    log.info("%s: %d/%d  %s  %.3g it/s, %s left", name, done, iterations, shown, 1 / max(seconds, 1e-9), left)
