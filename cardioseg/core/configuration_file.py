"""A configuration's file in YAML, as its author wrote it: YAML itself passes over what is mistaken in silence."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from cardioseg.core.errors import InputError

# Aliases of aliases can stand for more than any memory holds.
MOST_ALIASES = 20
# The time that PyYAML takes grows with the square of the depth.
DEEPEST = 20
MEND_IT = "Mend it, or begin with a copy of an example."
# By YAML's tag, how a number is written that nobody can take for another one or, without quotes, for a name.
PLAIN = {
    "tag:yaml.org,2002:int": re.compile(r"0|-?[1-9][0-9]*"),
    "tag:yaml.org,2002:float": re.compile(r"[^:_]+"),
}


def check(path: Path | str) -> None:
    """Refuse a file that YAML reads differently from what its author wrote.

    Parameters
    ----------
    path : Path or str
        The file in YAML.

    Raises
    ------
    InputError
        A key is given twice, of which YAML takes the last; or a number is not written in plain decimal (YAML reads 010
        as 8 and 1:30 as 90); or the file is no YAML or not in UTF-8; or aliases in it could stand for so much, or
        sections lie so deep in one another, that reading it would not end.
    """
    try:
        text = Path(path).read_text("utf-8")
        aliases = depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            aliases += isinstance(event, yaml.AliasEvent)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise InputError(f"{path}: sections or lists lie more than {DEEPEST} deep in one another. {MEND_IT}")
        if aliases > MOST_ALIASES:
            raise InputError(f"{path}: has {aliases} aliases (*name); expected at most {MOST_ALIASES}.")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        repeated, mistakable = list(_repeated(node)), list(_mistakable(node))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not in UTF-8 (byte {error.start}). Save it as UTF-8.") from error
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: is no YAML ({reason}). {MEND_IT}") from error
    if repeated:
        raise InputError(f"{path}: key {', '.join(repeated)} is given twice; expected each key once.")
    if mistakable:
        raise InputError(
            f"{path}: YAML reads another number than is written in {', '.join(mistakable)}; expected plain decimal "
            'without leading zeros, or quotes around a name (["010"]).'
        )


def _mistakable(node: yaml.Node | None, name: str = "") -> Iterator[str]:
    """Find the numbers that are not written in plain decimal; yields each as it is written, after its key."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _mistakable(value, f"{name}.{key.value}" if name else str(key.value))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _mistakable(value, name)
    elif node is not None and node.tag in PLAIN and not PLAIN[node.tag].fullmatch(node.value):
        yield f"{name}: {node.value}"


def _repeated(node: yaml.Node | None, prefix: str = "") -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            if name in seen:
                yield name
            seen.add(name)
            yield from _repeated(value, f"{name}.")
