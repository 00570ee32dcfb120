"""What a call of Snakemake says, where Snakemake itself would pass over a mistake in silence."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from snakemake.cli import get_profile_dir

from cardioseg.core.errors import InputError

# Options of which Snakemake keeps the last alone, with all that each may be written as. Those that take several values:
SPELLINGS = {
    "--config": ("--config", "-C"),
    "--configfile": ("--configfile", "--configfiles"),
    "--resources": ("--resources", "--res"),
    "--set-resources": ("--set-resources",),
    "--set-threads": ("--set-threads",),
    "--default-resources": ("--default-resources", "--default-res"),
    "--forcerun": ("--forcerun", "-R"),
    "--until": ("--until", "-U"),
    "--omit-from": ("--omit-from", "-O"),
    "--allowed-rules": ("--allowed-rules",),
    "--rerun-triggers": ("--rerun-triggers",),
    # and those that take one:
    "--directory": ("--directory", "-d"),
    "--snakefile": ("--snakefile", "-s"),
}
ONE_VALUE = ("--directory", "--snakefile")
# Other options that one above begins with.
OTHERS = ("--force",)
PROFILES = {"--profile": ("--profile",), "--workflow-profile": ("--workflow-profile",)}


def check_options(arguments: Sequence[str]) -> None:
    """Raise InputError for an option that is given twice, with the way to give it once.

    arguments: the words of the command line after the program's name.
    """
    values = _values(arguments, SPELLINGS)
    for option, groups in values.items():
        if len(groups) > 1:
            together = shlex.join([option, *(value for group in groups for value in group)])
            raise InputError(
                f"{option} is given {len(groups)} times, of which Snakemake would use only the last. Give it once"
                + ("." if option in ONE_VALUE else f": {together}")
            )
    keys = [_key(value) for group in values.get("--config", []) for value in group]
    for key in keys:
        if keys.count(key) > 1:
            raise InputError(f"--config: {key} is given {keys.count(key)} times. Give it once.")


def check_profiles(arguments: Sequence[str], folder: Path) -> None:
    """Raise InputError where the command line takes the place of configurations that a profile names.

    arguments: as of `check_options`. folder: where Snakemake was started, from which it has looked for profiles; the
    workflow itself only sees that of --directory.
    """
    given = _values(arguments, {**SPELLINGS, **PROFILES})
    profiles = [value for option in PROFILES for group in given.get(option, []) for value in group]
    if "--profile" not in given and (of_shell := os.environ.get("SNAKEMAKE_PROFILE")):
        profiles.append(of_shell)
    for profile in profiles:
        own = folder / profile
        found = get_profile_dir(str(own) if own.exists() else profile)
        settings = yaml.safe_load(found[1].read_text("utf-8")) if found else None
        for option in ("--configfile", "--config"):
            said = [value for group in given.get(option, []) for value in group]
            known = {_key(value) for value in said}
            dropped = [value for value in _named(settings or {}, option) if _key(value) not in known]
            if said and dropped:
                raise InputError(
                    f"{option} of the profile {profile} would not count beside that of the command line. Give it "
                    f"there, too: {shlex.join([option, *dropped, *said])}"
                )


def _key(value: str) -> str:
    return value.partition("=")[0]


def _named(settings: Mapping[str, Any], option: str) -> list[str]:
    """The values of an option in a profile."""
    for spelling in SPELLINGS[option]:
        value = settings.get(spelling.lstrip("-"))
        if isinstance(value, Mapping):
            return [f"{key}={each}" for key, each in value.items()]
        if value:
            return [str(each) for each in (value if isinstance(value, list) else [value])]
    return []


def _values(arguments: Sequence[str], spellings: Mapping[str, Sequence[str]]) -> dict[str, list[list[str]]]:
    """The values of options, one list for each time that an option is given."""
    values: dict[str, list[list[str]]] = {}
    current: list[str] | None = None
    for argument in arguments:
        option, value = _option(argument, spellings)
        if argument == "--":
            break
        if option:
            current = [value] if value else []
            values.setdefault(option, []).append(current)
        elif argument.startswith("-"):
            current = None
        elif current is not None:
            current.append(argument)
    return values


def _option(argument: str, spellings: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """The option of `spellings` that a word is, abbreviated or not, and the value that it holds; nothing for others."""
    name, _, value = argument.partition("=")
    for option, each in spellings.items():
        if name in each:
            return option, value
    for option, each in spellings.items():
        if not argument.startswith("--") and argument[:2] in each:
            return option, argument[2:]
        # Snakemake has refused abbreviations that several options share.
        if name.startswith("--") and name not in OTHERS and any(spelling.startswith(name) for spelling in each):
            return option, value
    return "", ""
