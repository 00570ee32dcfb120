"""A hash of the code that a script depends on: the script and all of cardioseg that it imports, also indirectly.

The templates of these modules count as well.

Modules that scripts share (`support/`) do not count: they only set up logging, threads and the device.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cardioseg.core import files

SCRIPTS = Path(__file__).parents[1]
LIBRARY = SCRIPTS.parent / "cardioseg"
# What was read out of modules, since that takes longer than all else that is done about fingerprints.
MEMORY = Path(".snakemake/modules.json")


@cache
def code(script: str) -> str:
    """Hash of a script's import closure and its templates; comments, docstrings and formatting of code do not count."""
    modules = sorted(_closure(SCRIPTS / script))
    texts = [_module(path).code for path in modules]
    texts += [template.read_text("utf-8") for path in modules for template in _templates(path)]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def remember() -> None:
    """Keep what was read out of modules for later calls, where the folder can be written to."""
    record = json.dumps(_remembered()).encode()
    content = hashlib.sha256(record).hexdigest().encode() + b"\n" + record
    with suppress(OSError):
        if not MEMORY.exists() or MEMORY.read_bytes() != content:
            with files.atomic_write(MEMORY) as file:
                file.write(content)


def _closure(script: Path) -> set[Path]:
    seen: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += _module(path).imports
    return seen


def _templates(path: Path) -> list[Path]:
    """What a module fills in: `page.html.j2` beside `page.py`."""
    return sorted(path.parent.glob(f"{path.stem}.*.j2"))


class Module(NamedTuple):
    """The modules of cardioseg that a file imports, and a hash of its code without comments, docstrings and layout."""

    imports: tuple[Path, ...]
    code: str


@cache
def _module(path: Path) -> Module:
    content = path.read_bytes()
    # By the content itself, and by all that the reading depends on: what is remembered is never of another file.
    key = hashlib.sha256(b"\n".join([_reader(), content])).hexdigest()
    name = path.relative_to(SCRIPTS.parent).as_posix()
    known, names, found = _remembered().get(name, ("", [], ""))
    if known != key:
        names, found = _read(content.decode("utf-8"))
        _remembered()[name] = (key, names, found)
    candidates = [LIBRARY.joinpath(*name.split(".")).with_suffix(".py") for name in names]
    return Module(tuple(candidate for candidate in candidates if candidate.exists()), found)


def _read(text: str) -> tuple[list[str], str]:
    """What of cardioseg a module may import, as dotted names in it, and the hash of the module's code."""
    tree = ast.parse(text)
    names = []
    for node in (tree, *_statements(tree)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    own = [name.removeprefix("cardioseg.") for name in names if name.startswith("cardioseg.")]
    return own, hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node. No expression has any."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):
            yield child
            yield from _statements(child)


@cache
def _reader() -> bytes:
    """What the reading of a module depends on: this module and Python."""
    return sys.version.encode() + Path(__file__).read_bytes()


@cache
def _remembered() -> dict[str, tuple[str, list[str], str]]:
    """By module its key, and what `_read` found; nothing where the record is damaged."""
    try:
        digest, _, record = MEMORY.read_bytes().partition(b"\n")
        if digest.decode() == hashlib.sha256(record).hexdigest():
            return {name: (key, names, found) for name, (key, names, found) in json.loads(record).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        pass
    return {}
