"""Imports that hide an optional dependency, that wait until they are needed, and that the collector leaves alone."""

import gc
import importlib
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_CHANGING = threading.Lock()


class _Hiding(MetaPathFinder):
    """Tells one thread that a package is not installed."""

    def __init__(self, package: str) -> None:
        self._package, self._thread = package, threading.get_ident()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == self._package and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{fullname} is hidden", name=fullname)
        return None


@contextmanager
def hidden(package: str) -> Iterator[None]:
    """Hide a package from the imports of a block, as if it were not installed.

    A package that is loaded already stays visible. So does the package in all other threads, and in this one after the
    block.

    Parameters
    ----------
    package : str
        Name of the package.

    Yields
    ------
    None
        While the package is hidden.
    """
    hiding = _Hiding(package)
    with _CHANGING:
        # A list of its own: other threads may be going through the former one.
        sys.meta_path = [hiding, *sys.meta_path]
    try:
        yield
    finally:
        with _CHANGING:
            sys.meta_path = [finder for finder in sys.meta_path if finder is not hiding]


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector away from what a block imports.

    Modules stay as long as the process. The collector would go through them again and again during the imports, and
    once more when the process ends. For torch and matplotlib that takes the better part of a second.

    Yields
    ------
    None
        While nothing is collected.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


class Late:
    """Stands for a package, which is imported when something of it is used first.

    Parameters
    ----------
    package : str
        Name of the package.
    without : str
        Name of a package that stays hidden meanwhile.
    """

    def __init__(self, package: str, without: str) -> None:
        self._package, self._without = package, without

    def __getattr__(self, name: str) -> Any:
        with hidden(self._without):
            value = getattr(importlib.import_module(self._package), name)
        setattr(self, name, value)
        return value
