"""Links to the cohort's files, by names that stay when the data moves."""

import shutil
import time
from pathlib import Path

import pytest

from cardioseg.cohort.plan import Cohort, Files
from support import raw_files


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def cohort(folder):
    """A cohort of two files in a folder, where they are made unless they are there."""
    for name in ("a_lge.nii.gz", "a_manual.nii"):
        if not (folder / name).exists():
            folder.mkdir(exist_ok=True)
            (folder / name).write_text(name)
    return Cohort({("LGE", "a"): Files(folder / "a_lge.nii.gz", folder / "a_manual.nii")}, {})


LINKS = Files(Path(".snakemake/raw/LGE/images/a.nii.gz"), Path(".snakemake/raw/LGE/labels/a.nii"))


def test_names_stay_when_the_data_moves():
    for folder in (Path("data"), Path("data").absolute(), Path("moved")):
        if folder == Path("moved"):
            shutil.move("data", "moved")
        found = raw_files.linked(cohort(folder), make=True)
        assert found.volumes["LGE", "a"] == LINKS
        assert LINKS.image.read_text() == "a_lge.nii.gz"
        assert raw_files.given(str(LINKS.image)) == f"{folder.name}/a_lge.nii.gz"
        # Jobs find what the main process has made.
        assert raw_files.linked(cohort(folder), make=False) == found


def test_image_without_labels_is_linked_alone():
    files = Files(cohort(Path("data")).volumes["LGE", "a"].image, None)
    found = raw_files.linked(Cohort({("LGE", "a"): files}, {}), make=True)
    assert found.volumes["LGE", "a"] == Files(LINKS.image, None)


def test_link_is_made_once():
    raw_files.linked(cohort(Path("data")), make=True)
    before = LINKS.image.lstat()
    raw_files.linked(cohort(Path("data")), make=True)
    assert LINKS.image.lstat() == before


def test_link_that_a_run_in_progress_reads_stays():
    """A dry run beside it may be of other data."""
    raw_files.linked(cohort(Path("data")), make=True)
    lock = raw_files.LOCKS / "0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    planned = raw_files.linked(cohort(Path("other")), make=True)
    assert planned.volumes["LGE", "a"] == Files(Path("other/a_lge.nii.gz"), Path("other/a_manual.nii"))
    assert LINKS.image.readlink() == Path("data/a_lge.nii.gz").absolute()
    lock.unlink()
    assert raw_files.linked(cohort(Path("other")), make=True).volumes["LGE", "a"] == LINKS
    assert LINKS.image.readlink() == Path("other/a_lge.nii.gz").absolute()


def test_file_of_new_content_gets_a_new_link():
    raw_files.linked(cohort(Path("data")), make=True)
    before = [path.lstat().st_ino for path in (LINKS.image, LINKS.labels)]
    since = {str(Path("data/a_lge.nii.gz").resolve()): time.time(), str(Path("data/a_manual.nii").resolve()): 1e9}
    raw_files.linked(cohort(Path("data")), make=True, since=since)
    assert LINKS.image.lstat().st_ino != before[0]
    assert LINKS.labels.lstat().st_ino == before[1]


def test_copy_of_a_file_becomes_a_link():
    """As where a folder of results is copied."""
    LINKS.image.parent.mkdir(parents=True)
    LINKS.image.write_text("a_lge.nii.gz")
    assert raw_files.linked(cohort(Path("data")), make=True).volumes["LGE", "a"] == LINKS
    assert LINKS.image.is_symlink()


def test_file_of_somebody_else_stays():
    LINKS.image.parent.mkdir(parents=True)
    LINKS.image.write_text("mine")
    found = raw_files.linked(cohort(Path("data")), make=True)
    assert found.volumes["LGE", "a"] == Files(Path("data/a_lge.nii.gz"), LINKS.labels)
    assert LINKS.image.read_text() == "mine"


def test_files_are_used_themselves_where_links_are_refused(monkeypatch):
    """Some file systems have none."""

    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refused)
    for make in (True, False):
        assert raw_files.linked(cohort(Path("data")), make=make) == cohort(Path("data"))


def test_user_is_told_of_own_files():
    raw_files.linked(cohort(Path("data")), make=True)
    said = raw_files.in_users_terms(
        f"{LINKS.image}: is damaged, or {LINKS.labels}", map(str, [LINKS.image, LINKS.labels])
    )
    assert said == "data/a_lge.nii.gz: is damaged, or data/a_manual.nii"
