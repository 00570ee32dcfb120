"""A hash of the code that a script depends on: the script and all of cardioseg that it imports, also indirectly.

Modules that scripts share (`support/`) do not count: they only set up logging, threads and the device.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).parents[1]
LIBRARY = SCRIPTS.parent / "cardioseg"


@cache
def code(script: str) -> str:
    """Hash of a script's import closure; comments, docstrings and formatting do not count."""
    paths = _closure(SCRIPTS / script)
    return hashlib.sha256("\n".join(_normalised(path) for path in sorted(paths)).encode()).hexdigest()[:16]


def _closure(script: Path) -> set[Path]:
    seen: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += _imports(path)
    return seen


@cache
def _imports(path: Path) -> tuple[Path, ...]:
    """Return the modules of cardioseg that a file imports."""
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    own = [name.split(".")[1:] for name in names if name.startswith("cardioseg.")]
    candidates = [LIBRARY.joinpath(*parts).with_suffix(".py") for parts in own]
    return tuple(candidate for candidate in candidates if candidate.exists())


@cache
def _normalised(path: Path) -> str:
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
