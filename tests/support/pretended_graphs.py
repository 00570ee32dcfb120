"""CUDA graphs without a GPU: a call of the step that reads and writes the same memory each time stands for a replay."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from cardioseg.core import cuda_graphs

CALLS_BEFORE = 2


class Pretended(cuda_graphs.RepeatedStep):
    """A step that is captured on a CPU."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._calls_before_capture = CALLS_BEFORE


def pretend(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> list[int]:
    """Let the repeated steps of modules be captured; how often each capture was replayed."""
    replays: list[int] = []

    def captured(step: Callable[[], torch.Tensor], _: object) -> Callable[[], torch.Tensor]:
        kept: list[torch.Tensor] = []
        number = len(replays)
        replays.append(0)

        def replay() -> torch.Tensor:
            replays[number] += 1
            result = step()
            if not kept:
                kept.append(result.clone())
            return kept[0].copy_(result)

        return replay

    monkeypatch.setattr(cuda_graphs, "_captured", captured)
    for module in modules:
        monkeypatch.setattr(module, "RepeatedStep", Pretended)
    return replays
