import importlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from cardioseg.core.imports import hidden


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that can be imported and is not loaded."""
    (tmp_path / "imported_late.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield "imported_late"
    sys.modules.pop("imported_late", None)


def test_package_is_hidden_in_the_block_alone(package):
    before = list(sys.meta_path)
    with hidden(package), pytest.raises(ModuleNotFoundError):
        importlib.import_module(package)
    assert sys.meta_path == before
    importlib.import_module(package)


def test_loaded_package_stays_visible(package):
    loaded = importlib.import_module(package)
    with hidden(package):
        assert importlib.import_module(package) is loaded


def test_package_is_visible_to_other_threads(package):
    with hidden(package), ThreadPoolExecutor(1) as thread:
        thread.submit(importlib.import_module, package).result()
    assert package in sys.modules


def test_package_is_visible_again_after_an_error(package):
    with pytest.raises(ZeroDivisionError), hidden(package):
        _ = 1 / 0
    importlib.import_module(package)


def test_search_that_another_thread_has_begun_meets_every_finder(package):
    """A list that changed under a search would make it leave out a finder."""
    with hidden(package):
        search, expected = iter(sys.meta_path), list(sys.meta_path)
        met = [next(search)]
    assert [*met, *search] == expected


def test_volumes_are_imported_without_pydicom_which_can_be_imported_later():
    code = "import sys; from cardioseg.core import volumes; assert 'pydicom' not in sys.modules; import pydicom"
    subprocess.run([sys.executable, "-c", code], check=True)
