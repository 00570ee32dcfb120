"""Training steps that a GPU repeats as a CUDA graph, so that it does not wait for Python between its kernels.

A step on few images is thousands of kernels, most of them shorter than the time in which Python starts the next. A CUDA
graph holds them all with their order and their memory, and starts in one call. Nothing is rounded in another way.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

log = logging.getLogger(__name__)

# In the steps before the capture cuDNN chooses its algorithms, and optimisers make their state.
STEPS_BEFORE_CAPTURE = 3


class RepeatedStep:
    """A training step that is captured as a CUDA graph after its first calls and replayed from then on.

    Where there is no GPU, or the capture fails, every call computes as it is written.

    Parameters
    ----------
    step : callable
        Takes tensors of the same shapes in every call, changes networks and optimisers in place and returns its losses,
        scalars of one type, by name. It neither waits for the GPU nor draws on the CPU.
    optimisers : sequence of Adam
        What changes the networks.
    device : torch.device
        Where it computes.
    capture : bool
        Whether a CUDA graph is made, if the device is a GPU.
    """

    def __init__(
        self,
        step: Callable[..., dict[str, Tensor]],
        optimisers: Sequence[torch.optim.Adam],
        device: torch.device,
        capture: bool = True,
    ) -> None:
        self._step, self._optimisers, self._device = step, optimisers, device
        self._stream = torch.cuda.Stream(device) if capture and device.type == "cuda" else None
        self._calls_before_capture = STEPS_BEFORE_CAPTURE if self._stream else None
        self._replay: Callable[[], Tensor] | None = None
        self._names: list[str] = []
        self._inputs: tuple[Tensor, ...] = ()
        self._learning_rate = torch.zeros((), device=device)

    def __call__(self, learning_rate: float, *inputs: Tensor) -> dict[str, Tensor]:
        """Take the step.

        Parameters
        ----------
        learning_rate : float
            The learning rate of all optimisers.
        *inputs : Tensor
            What the step takes, on the device.

        Returns
        -------
        dict of str to Tensor
            The losses by name, detached.
        """
        if self._calls_before_capture == 0:
            self._calls_before_capture = None
            self._capture(inputs)
        if self._replay is None:
            if self._calls_before_capture is not None:
                self._calls_before_capture -= 1
            return self._compute(learning_rate, inputs)
        self._learning_rate.fill_(learning_rate)
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        # The next replay writes to the same memory.
        return dict(zip(self._names, self._replay().clone().unbind(), strict=True))

    def _compute(self, learning_rate: float, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        self._set(learning_rate, capturable=False)
        if self._stream is None:
            losses = self._step(*inputs)
        else:  # on the stream of the capture, which autograd's nodes belong to
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(self._stream), _fastest_convolutions():
                losses = self._step(*inputs)
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
        self._names = list(losses)
        return {name: loss.detach() for name, loss in losses.items()}

    def _capture(self, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(given.clone() for given in inputs)
        self._set(self._learning_rate, capturable=True)
        for optimiser in self._optimisers:
            optimiser.zero_grad(set_to_none=True)

        def step() -> Tensor:
            return torch.stack([loss.detach() for loss in self._step(*self._inputs).values()])

        try:
            self._replay = _captured(step, self._stream)
        except RuntimeError as error:
            reason = str(error.__context__ or error).strip().splitlines()[0]
            log.warning("no CUDA graph could be made of the training step (%s); it is computed without one", reason)
            self._stream = None

    def _set(self, learning_rate: float | Tensor, capturable: bool) -> None:
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group.update(lr=learning_rate, capturable=capturable)


@contextmanager
def _fastest_convolutions() -> Iterator[None]:
    """Let cuDNN time its algorithms for a convolution of a new shape. It remembers the fastest one."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _captured(step: Callable[[], Tensor], stream: torch.cuda.Stream | None) -> Callable[[], Tensor]:
    """Capture a step without computing it; what is returned computes it, and always returns the same memory."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        result = step()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def side_by_side(*calls: Callable[[], Any]) -> list[Any]:
    """Make independent calls, as branches of a CUDA graph where one is captured and one after the other elsewhere.

    Kernels for few images leave most of a GPU idle. Gradients flow back in the same branches.

    Parameters
    ----------
    *calls : callable
        Take nothing and return tensors, or tuples or lists of them. A weight that several groups of calls use has the
        same place in all of them.

    Returns
    -------
    list
        What the calls return.
    """
    if not (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()):
        return [call() for call in calls]
    main = torch.cuda.current_stream()
    branches = [main, *_branches(len(calls) - 1, main.device)]
    for branch in branches[1:]:
        branch.wait_stream(main)
    results = []
    for call, branch in zip(calls, branches, strict=True):
        with torch.cuda.stream(branch):
            results.append(call())
    for branch in branches[1:]:
        main.wait_stream(branch)
    for tensor in tree_leaves(results):
        for branch in branches:  # which may read it in the backward pass, after the last reference to it is gone
            tensor.record_stream(branch)
    return results


_BRANCHES: dict[torch.device, list[torch.cuda.Stream]] = {}


def _branches(count: int, device: torch.device) -> list[torch.cuda.Stream]:
    """The same streams in every call."""
    known = _BRANCHES.setdefault(device, [])
    while len(known) < count:
        known.append(torch.cuda.Stream(device))
    return known[:count]
