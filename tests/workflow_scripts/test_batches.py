"""Which patients a job does."""

import tomllib
from pathlib import Path

import pytest
import snakemake

from cardioseg.core.errors import InputError
from support import batches

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize(
    ("patients", "jobs", "sizes"), [(3, 50, [1, 1, 1]), (10, 4, [3, 3, 3, 1]), (100, 50, [2] * 50)]
)
def test_blocks_are_equal_and_no_more_than_jobs(patients: int, jobs: int, sizes: list[int]) -> None:
    names = [f"P{number}" for number in range(patients)]
    found = batches.blocks(names, jobs)
    assert list(found) == names
    assert [list(found.values()).count(block) for block in dict.fromkeys(found.values())] == sizes


def test_another_snakemake_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snakemake, "__version__", "9.99.0")
    with pytest.raises(InputError, match=r"jobs_per_step: .* need Snakemake 9.27.1, and this is 9.99.0"):
        batches.make(None, [], lambda member: 0)


def test_the_installed_snakemake_is_the_one_that_batches_need() -> None:
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["workflow"]
    assert f"snakemake[reports]=={batches.SNAKEMAKE}" in extras
