"""What all tests share: one thread, the workflow's scripts to import, property tests that draw the same every time."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import psutil
import pytest
import torch
from hypothesis import settings

from cardioseg.core import precision

GB_PER_WORKER = 3  # pytest itself, and the jobs of a workflow that it runs

torch.set_num_threads(1)
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")


def pytest_xdist_auto_num_workers() -> int:
    """Workers of `pytest -n auto`: a workflow keeps several processors busy, and waits at times."""
    processors = len(os.sched_getaffinity(0))
    return max(1, min(1 + processors // 2, psutil.virtual_memory().available // (GB_PER_WORKER << 30)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For several workers: what takes longest comes first, and a file is one worker's, but for those of workflows."""
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        if item.path.parent.name != "workflow":
            item.add_marker(pytest.mark.xdist_group(item.path.name))
    items.sort(key=lambda item: (item.path.parent.name != "workflow", item.path.name != "test_slurm.py"))


@pytest.fixture(autouse=True)
def bfloat16_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use bfloat16 in tests on every processor, also where it is slow."""
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: True)
