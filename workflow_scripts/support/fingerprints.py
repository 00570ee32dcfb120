"""A hash of the code that a script depends on: the script and all of cardioseg that it imports, also indirectly.

Modules that scripts share (`support/`) do not count: they only set up logging, threads and the device.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

SCRIPTS = Path(__file__).parents[1]
LIBRARY = SCRIPTS.parent / "cardioseg"


@cache
def code(script: str) -> str:
    """Hash of a script's import closure; comments, docstrings and formatting do not count."""
    modules = _closure(SCRIPTS / script)
    return hashlib.sha256("\n".join(_module(path).code for path in sorted(modules)).encode()).hexdigest()[:16]


def _closure(script: Path) -> set[Path]:
    seen: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += _module(path).imports
    return seen


class Module(NamedTuple):
    """The modules of cardioseg that a file imports, and its code without comments, docstrings and formatting."""

    imports: tuple[Path, ...]
    code: str


@cache
def _module(path: Path) -> Module:
    tree = ast.parse(path.read_text("utf-8"))
    names = []
    for node in (tree, *_statements(tree)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    own = [name.split(".")[1:] for name in names if name.startswith("cardioseg.")]
    candidates = [LIBRARY.joinpath(*parts).with_suffix(".py") for parts in own]
    return Module(tuple(candidate for candidate in candidates if candidate.exists()), ast.dump(tree))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node. No expression has any."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):
            yield child
            yield from _statements(child)
