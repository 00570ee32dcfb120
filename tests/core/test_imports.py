import gc
import importlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import pytest

from cardioseg.core.imports import Late, hidden, uncollected


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


def test_late_package_is_imported_at_its_first_use_without_another(package, tmp_path):
    (tmp_path / "imported_late.py").write_text(
        "import sys\ntry:\n    import wave\nexcept ImportError:\n    wave = None"
    )
    sys.modules.pop("wave", None)
    late = Late(package, without="wave")
    assert package not in sys.modules
    assert late.wave is None
    assert package in sys.modules
    assert late.sys is sys
    importlib.import_module("wave")


def test_late_package_has_no_more_than_the_package(package):
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = Late(package, without="wave").nothing_of_this_name


def test_volumes_are_read_without_pydicom_which_can_be_imported_later(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((2, 3, 4)), np.eye(4)), tmp_path / "volume.nii")
    code = """
import sys
from cardioseg.core import volumes
assert "nibabel" not in sys.modules
volumes.read(sys.argv[1])
assert "nibabel" in sys.modules and "pydicom" not in sys.modules
import pydicom
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "volume.nii")], check=True)


@pytest.mark.parametrize("was_enabled", [True, False])
def test_collector_leaves_alone_what_a_block_imports(was_enabled):
    (gc.enable if was_enabled else gc.disable)()
    try:
        with uncollected():
            assert not gc.isenabled()
            imported = [[]]
        assert gc.isenabled() is was_enabled
        # It is among those that a collection goes through again once nothing is frozen.
        assert not any(each is imported for each in gc.get_objects())
        gc.unfreeze()
        assert any(each is imported for each in gc.get_objects())
    finally:
        gc.unfreeze()
        gc.enable()
