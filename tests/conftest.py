"""What all tests share: one thread, the workflow's scripts to import, property tests that draw the same every time."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from hypothesis import settings

from cardioseg.core import precision

torch.set_num_threads(1)
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")


@pytest.fixture(autouse=True)
def bfloat16_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use bfloat16 in tests on every processor, also where it is slow."""
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: True)
