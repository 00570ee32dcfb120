"""Links to the cohort's files, by names that stay when the data moves."""

import os
import shutil
from pathlib import Path

import pytest

from cardioseg.cohort.plan import Cohort, Files
from cardioseg.core import checksums
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


def linked(found):
    """With links as the main process makes them."""
    paths = [path for files in found.volumes.values() for path in (files.image, files.labels) if path]
    return raw_files.linked(found, checksums.sha256(paths))


LINKS = Files(Path(".snakemake/raw/LGE/images/a.nii.gz"), Path(".snakemake/raw/LGE/labels/a.nii"))


def test_names_stay_when_the_data_moves():
    for folder in (Path("data"), Path("data").absolute(), Path("moved")):
        if folder == Path("moved"):
            shutil.move("data", "moved")
        found = linked(cohort(folder))
        assert found.volumes["LGE", "a"] == LINKS
        assert LINKS.image.read_text() == "a_lge.nii.gz"
        assert raw_files.given(str(LINKS.image)) == f"{folder.name}/a_lge.nii.gz"
        # Jobs find what the main process has made.
        assert raw_files.linked(cohort(folder)) == found


def test_image_without_labels_is_linked_alone():
    files = Files(cohort(Path("data")).volumes["LGE", "a"].image, None)
    found = linked(Cohort({("LGE", "a"): files}, {}))
    assert found.volumes["LGE", "a"] == Files(LINKS.image, None)


def test_link_to_a_name_in_capitals_is_one_to_nifti():
    Path("A_LGE.NII.GZ").touch()
    Path("A_MANUAL.NII").touch()
    found = linked(Cohort({("LGE", "a"): Files(Path("A_LGE.NII.GZ"), Path("A_MANUAL.NII"))}, {}))
    assert found.volumes["LGE", "a"] == LINKS


def test_link_is_made_once():
    linked(cohort(Path("data")))
    before = LINKS.image.lstat()
    linked(cohort(Path("data")))
    assert LINKS.image.lstat() == before


def aged():
    """Give the links a time of long ago, by which `is_new` tells whether they are made anew."""
    for link in (LINKS.image, LINKS.labels):
        if link.is_symlink():
            os.utime(link, (1e9, 1e9), follow_symlinks=False)


def is_new(link):
    return link.lstat().st_mtime > 1e9


def locked():
    """The lock of a run in progress, or of one that was killed."""
    lock = raw_files.LOCKS / "0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    return lock


def test_link_that_a_run_in_progress_reads_stays():
    """A dry run beside it may be of other data."""
    linked(cohort(Path("data")))
    lock = locked()
    other = cohort(Path("other")).volumes["LGE", "a"]
    for path in (other.image, other.labels):
        path.write_text("other")
    planned = linked(cohort(Path("other")))
    assert planned.volumes["LGE", "a"] == other
    assert "a run is in progress, or was killed (--unlock)" in planned.oddities[0]
    assert LINKS.image.readlink() == Path("data/a_lge.nii.gz").absolute()
    lock.unlink()
    planned = linked(cohort(Path("other")))
    assert planned.volumes["LGE", "a"] == LINKS
    assert planned.oddities == []
    assert LINKS.image.readlink() == Path("other/a_lge.nii.gz").absolute()


@pytest.mark.parametrize("move", [shutil.copytree, shutil.move])
def test_names_stay_when_the_data_moves_beside_a_run_in_progress(move):
    """A plan then shows no step that the move alone would repeat."""
    linked(cohort(Path("data")))
    before = LINKS.image.lstat()
    locked()
    move("data", "other")
    planned = linked(cohort(Path("other")))
    assert planned.volumes["LGE", "a"] == LINKS
    assert planned.oddities == []
    assert LINKS.image.read_text() == "a_lge.nii.gz"
    assert (LINKS.image.lstat() == before) == (move is shutil.copytree)


def test_file_of_new_content_gets_a_new_link():
    """Whatever the file's time is."""
    linked(cohort(Path("data")))
    before = [path.lstat().st_ino for path in (LINKS.image, LINKS.labels)]
    Path("data/a_lge.nii.gz").write_text("other")
    os.utime("data/a_lge.nii.gz", (1e9, 1e9))
    linked(cohort(Path("data")))
    assert LINKS.image.lstat().st_ino != before[0]
    assert LINKS.labels.lstat().st_ino == before[1]


def test_link_is_new_when_its_file_leads_back_to_an_earlier_content():
    """The data folder may be a link, and so may each file, as with DVC and git-annex."""
    cohort(Path("one"))
    cohort(Path("two"))
    Path("two/a_lge.nii.gz").write_text("other")
    made = []
    for folder in ("one", "two", "one"):
        Path("data").unlink(missing_ok=True)
        Path("data").symlink_to(folder)
        aged()
        linked(cohort(Path("data")))
        made.append((is_new(LINKS.image), is_new(LINKS.labels)))
    assert made == [(True, True), (True, False), (True, False)]


@pytest.mark.parametrize("record", ["", "[1]", "null", "\udcff"])
def test_damaged_record_has_links_made_anew(record):
    linked(cohort(Path("data")))
    aged()
    raw_files.MEMORY.write_bytes(record.encode("utf-8", "surrogateescape"))
    linked(cohort(Path("data")))
    assert is_new(LINKS.image)


def test_copy_of_a_file_becomes_a_link():
    """As where a folder of results is copied."""
    LINKS.image.parent.mkdir(parents=True)
    LINKS.image.write_text("a_lge.nii.gz")
    assert linked(cohort(Path("data"))).volumes["LGE", "a"] == LINKS
    assert LINKS.image.is_symlink()


def test_file_of_somebody_else_stays():
    LINKS.image.parent.mkdir(parents=True)
    LINKS.image.write_text("mine")
    found = linked(cohort(Path("data")))
    assert found.volumes["LGE", "a"] == Files(Path("data/a_lge.nii.gz"), LINKS.labels)
    assert LINKS.image.read_text() == "mine"


def test_files_are_used_themselves_where_links_are_refused(monkeypatch):
    """Some file systems have none."""

    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refused)
    for used in (linked, raw_files.linked):
        assert used(cohort(Path("data"))) == cohort(Path("data"))


def test_user_is_told_of_own_files():
    linked(cohort(Path("data")))
    said = raw_files.in_users_terms(
        f"{LINKS.image}: is damaged, or {LINKS.labels}", map(str, [LINKS.image, LINKS.labels])
    )
    assert said == "data/a_lge.nii.gz: is damaged, or data/a_manual.nii"
