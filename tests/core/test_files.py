import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from cardioseg.core import checkpoints, files, volumes


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def little_room(size: int) -> Iterator[None]:
    """Limit the size of files: as on a full disk, the beginning is written and the rest is refused."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_file_is_written_into_a_new_folder(tmp_path: Path) -> None:
    with files.atomic_write(tmp_path / "new" / "a") as file:
        file.write(b"all")
    assert content(tmp_path / "new") == {"a": b"all"}


def test_file_is_on_the_disk_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    seen = []
    monkeypatch.setattr(os, "fsync", lambda file: seen.append((path.read_bytes(), os.fstat(file).st_size)))
    with files.atomic_write(path) as file:
        file.write(b"newer")
    assert seen == [(b"old", 5)]
    assert content(tmp_path) == {"a": b"newer"}


def test_two_processes_do_not_write_into_each_others_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with files.atomic_write(tmp_path / "a") as first:
        first.write(b"first, ")
        monkeypatch.setattr(os, "getpid", lambda: 0)
        with files.atomic_write(tmp_path / "a") as second:
            second.write(b"second")
        assert (tmp_path / "a").read_bytes() == b"second"
        first.write(b"and last")
    assert content(tmp_path) == {"a": b"first, and last"}


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt()])
def test_file_stays_as_it_was_where_something_fails(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(type(error)), files.atomic_write(tmp_path / "a") as file:
        file.write(b"half")
        raise error
    assert content(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize("name", ["a.pt", "a.nii", "a.nii.gz"])
def test_file_without_room_is_named_and_not_there(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).normal(size=(40, 40, 40))
    with little_room(20_000), pytest.raises(OSError, match=name) as refused:
        if name == "a.pt":
            checkpoints.save(tmp_path / name, {"noise": torch.from_numpy(noise)})
        else:
            volumes.write(tmp_path / name, noise, np.eye(4))
    assert refused.value.errno == errno.EFBIG
    assert refused.value.filename == str(tmp_path / name)
    assert content(tmp_path) == {}
