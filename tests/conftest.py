"""What all tests share: one thread, the workflow's scripts to import, property tests without chance."""

import os
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import psutil
import pytest
import torch
from hypothesis import settings

from cardioseg.core import precision
from cardioseg.evaluation.measures import MEASURES

GB_PER_WORKER = 3  # pytest itself, and the jobs of a workflow that it runs
WORKFLOWS = "tests/workflow/"
# Files there with fixtures of their own.
WHOLE = [f"{WORKFLOWS}test_{name}.py" for name in ("slurm", "other_cohorts", "report")]

torch.set_num_threads(1)
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Workers of `pytest -n auto`: a workflow keeps several processors busy, and waits at times."""
    processors = len(os.sched_getaffinity(0))
    return max(1, min(1 + processors // 2, psutil.virtual_memory().available // (GB_PER_WORKER << 30)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each worker gets whole files, so that their fixtures are made once, but tests of workflows one by one."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return nodeid if file.startswith(WORKFLOWS) and file not in WHOLE else file

    config.option.loadscopereorder = False  # the order is that of pytest_collection_modifyitems
    return Scheduler(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For several workers: what takes longest comes first, and files with slow tests before the others."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(
            key=lambda item: (
                not item.nodeid.startswith(WHOLE[0]),
                not item.nodeid.startswith(WORKFLOWS),
                item.path not in slow,
            )
        )


@pytest.fixture(autouse=True)
def bfloat16_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use bfloat16 in tests on every processor, also where it is slow."""
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: True)


@pytest.fixture
def known_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show the measures alone whose values tests write out by hand, so that another one changes no such table."""
    for name in set(MEASURES) - {"dice", "asd_mm", "hd95_mm"}:
        monkeypatch.delitem(MEASURES, name)
