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
        ("-R synthesise --forcerun metrics -n", "--forcerun synthesise metrics"),
        ("-Rsynthesise -n -R metrics", "--forcerun synthesise metrics"),
        ("--until crop -U synthesise", "--until crop synthesise"),
        ("--omit-from=crop --cores 1 -O metrics", "--omit-from crop metrics"),
    ],
)
def test_option_given_twice_is_refused(call, expected):
    with pytest.raises(InputError, match=f"Give it once: {re.escape(expected)}$"):
        command_line.check_options(shlex.split(call))


@pytest.mark.parametrize("call", ["--directory a --directory b", "-d a --direct b", "--directory=a -n -db"])
def test_folder_given_twice_is_refused(call):
    with pytest.raises(InputError, match=r"--directory is given 2 times.*Give it once\.$"):
        command_line.check_options(shlex.split(call))


PROFILE = "jobs: 4\nconfigfile: [demo/mscmrseg.yaml]\nconfig: [data=X, seed=2]\n"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("--profile ours --configfile a.yaml", "--configfile demo/mscmrseg.yaml a.yaml"),
        ("--configfile a.yaml --workflow-profile ours", "--configfile demo/mscmrseg.yaml a.yaml"),
        ("--profile=ours -C seed=3", "--config data=X seed=3"),
    ],
)
def test_configuration_of_a_profile_is_not_dropped(tmp_path, call, expected):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "config.yaml").write_text(PROFILE)
    with pytest.raises(InputError, match=f"Give it there, too: {re.escape(expected)}$"):
        command_line.check_profiles(shlex.split(call), tmp_path)


def test_configuration_of_the_shells_profile_is_not_dropped(tmp_path, monkeypatch):
    (tmp_path / "profile.yaml").write_text("configfile: a.yaml\nconfig: {seed: 2}\n")
    monkeypatch.setenv("SNAKEMAKE_PROFILE", str(tmp_path / "profile.yaml"))
    for call, expected in (
        ("--configfile b.yaml", "--configfile a.yaml b.yaml"),
        ("-C data=X", "--config seed=2 data=X"),
    ):
        with pytest.raises(InputError, match=expected):
            command_line.check_profiles(shlex.split(call), tmp_path)


@pytest.mark.parametrize(
    "call",
    [
        "--profile ours",
        "--profile ours --configfile demo/mscmrseg.yaml a.yaml -C seed=3 data=Y",
        "-C seed=3",
        "--profile x",
    ],
)
def test_profile_that_loses_nothing_is_accepted(tmp_path, call):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "config.yaml").write_text(PROFILE)
    command_line.check_profiles(shlex.split(call), tmp_path)


def test_one_key_twice_is_refused():
    with pytest.raises(InputError, match="--config: seed is given 2 times"):
        command_line.check_options(["--config", "seed=1", "data=X", "seed=2"])


@pytest.mark.parametrize(
    "call",
    [
        "",
        "--cores 2 --configfile a.yaml b.yaml --config data=X seed=2 --resources gpu=1 -n",
        "results/metrics.csv --set-threads a=1 --set-resources a:b=1 --set-resource-scopes a=local",
        "--config data=X -- --config",
        "--force --forcerun crop --directory a --snakefile Snakefile --until crop metrics",
    ],
)
def test_options_given_once_are_accepted(call):
    command_line.check_options(shlex.split(call))
