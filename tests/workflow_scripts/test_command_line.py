"""Options given twice, of which Snakemake would take the last, are refused with the way to give them once."""

import re
import shlex

import pytest

from cardioseg.core.errors import InputError
from support import command_line


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("--config data=X --config seed=2", "--config data=X seed=2"),
        ("--cores 2 -C data=X -n --config seed=2 -p", "--config data=X seed=2"),
        ("--config=data=X --config seed=2", "--config data=X seed=2"),
        ("-Cdata=X -C seed=2", "--config data=X seed=2"),
        ("--configfile a.yaml --configfile b.yaml", "--configfile a.yaml b.yaml"),
        ("--configfile a.yaml --configfiles 'b c.yaml'", "--configfile a.yaml 'b c.yaml'"),
        ("--configf a.yaml --cores 1 --configfile b.yaml", "--configfile a.yaml b.yaml"),
        ("--resources gpu=1 --cores 2 --resources mem_mb=9", "--resources gpu=1 mem_mb=9"),
        ("--res gpu=1 --resource mem_mb=9", "--resources gpu=1 mem_mb=9"),
    ],
)
def test_given_twice(call, expected):
    with pytest.raises(InputError, match=f"Give it once: {re.escape(expected)}$"):
        command_line.check_options(shlex.split(call))


def test_one_key_twice():
    with pytest.raises(InputError, match="--config: seed is given 2 times"):
        command_line.check_options(["--config", "seed=1", "data=X", "seed=2"])


@pytest.mark.parametrize(
    "call",
    [
        "",
        "--cores 2 --configfile a.yaml b.yaml --config data=X seed=2 --resources gpu=1 -n",
        "results/metrics.csv --set-threads a=1 --set-resources a:b=1 --set-resource-scopes a=local",
        "--config data=X -- --config",
    ],
)
def test_given_once(call):
    command_line.check_options(shlex.split(call))
