"""The two descriptions of the environment name the same versions."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"matplotlib-base": "matplotlib"}


def test_conda_pins_equal_the_lock():
    locked = dict(re.findall(r"^([a-z0-9.-]+)==([^ ]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    dependencies = yaml.safe_load((ROOT / "envs" / "cardioseg.yaml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    pins = [re.split("==?", entry) for entry in [*dependencies, *pip] if isinstance(entry, str) and "=" in entry]
    pins = {CONDA_NAMES.get(name, name): version for name, version in pins if name not in ("python", "pytorch")}
    assert len(pins) >= 10
    assert {name: locked[name] for name in pins} == pins
