"""What a call of Snakemake says, where Snakemake itself would pass over a mistake in silence."""

import shlex
from collections.abc import Sequence

from cardioseg.core.errors import InputError

# Options that take several values, and of which Snakemake keeps the last alone, with all that each may be written as.
SPELLINGS = {
    "--config": ("--config", "-C"),
    "--configfile": ("--configfile", "--configfiles"),
    "--resources": ("--resources", "--res"),
    "--set-resources": ("--set-resources",),
    "--set-threads": ("--set-threads",),
    "--default-resources": ("--default-resources", "--default-res"),
}


def check_options(arguments: Sequence[str]) -> None:
    """Raise InputError for an option that is given twice, with the way to give it once.

    arguments: the words of the command line after the program's name.
    """
    values: dict[str, list[list[str]]] = {}
    current: list[str] | None = None
    for argument in arguments:
        option, value = _option(argument)
        if argument == "--":
            break
        if option:
            current = [value] if value else []
            values.setdefault(option, []).append(current)
        elif argument.startswith("-"):
            current = None
        elif current is not None:
            current.append(argument)
    for option, groups in values.items():
        if len(groups) > 1:
            together = shlex.join([option, *(value for group in groups for value in group)])
            raise InputError(
                f"{option} is given {len(groups)} times, of which Snakemake would take the last alone. Give it once: "
                f"{together}"
            )
    keys = [value.partition("=")[0] for group in values.get("--config", []) for value in group]
    for key in keys:
        if keys.count(key) > 1:
            raise InputError(f"--config: {key} is given {keys.count(key)} times. Give it once.")


def _option(argument: str) -> tuple[str, str]:
    """The option of `SPELLINGS` that a word is, abbreviated or not, and the value that it holds; nothing for others."""
    name, _, value = argument.partition("=")
    for option, spellings in SPELLINGS.items():
        if name in spellings:
            return option, value
        if argument.startswith("-C") and "-C" in spellings:
            return option, argument.removeprefix("-C")
        # An abbreviation that is no other option's.
        if len(name) > len("--re") and any(spelling.startswith(name) for spelling in spellings):
            return option, value
    return "", ""
