"""The folder that segmentations are written to: names of the images, and one set of tables for all calls."""

import fcntl
import hashlib
import itertools
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cardioseg.core import files
from cardioseg.core.errors import InputError

# Folders and suffixes of an image's files; the last one is for an unexpected error.
KINDS = (
    *(("masks", ".nii.gz"), ("dicom", ".dcm"), ("rtstruct", ".dcm")),
    *(("uncertainty", ".nii.gz"), ("uncertainty", ".png"), ("slices", ".png")),
    *(("scar", ".nii.gz"), ("scar", ".png"), ("segments", ".png"), ("segments", ".svg"), ("errors", ".txt")),
)
# Parts of an entry that only results.json has.
OF_JSON_ALONE = ("voxels_sha256", "made_with", "segments")
# In bytes; leaves room for a suffix and for the name of an unfinished file.
LONGEST_NAME = 200
# How folders of unfinished files begin. A killed process leaves its own, which the next one removes.
UNFINISHED = ".cardioseg-unfinished-"


@dataclass(frozen=True)
class Results:
    """A folder of results.

    Attributes
    ----------
    folder : Path
        The folder.
    about : mapping
        What holds for all results, such as the model.
    entries : dict of str to dict
        One entry per image, by its name.
    """

    folder: Path
    about: Mapping[str, Any]
    entries: dict[str, dict[str, Any]]

    def name(self, wanted: str, path: Path, voxels: str | None) -> str:
        """Choose the name for an image's files.

        It is the wanted name. If another image has that name, the names of folders are added. Earlier results of the
        same image keep their name.

        Parameters
        ----------
        wanted : str
            The wanted name.
        path : Path
            The image's file or folder.
        voxels : str or None
            The image's checksum; None if it cannot be read.

        Returns
        -------
        str
            A name that no other image has.
        """
        for name, entry in self.entries.items():
            if voxels and (entry.get("voxels_sha256"), entry["image"]) == (voxels, files.readable(str(path))):
                return name
        return next(name for name in _names(wanted, path) if self._is_free(name, path, voxels))

    def add(self, name: str, entry: Mapping[str, Any]) -> None:
        """Add an image's entry, in place of earlier ones, and write the tables again.

        An image that failed before may have had another name then, since an image that cannot be read is known by its
        path alone. If the entry cannot be written, the image's files are removed.

        Parameters
        ----------
        name : str
            The image's name.
        entry : mapping
            Values by column.

        Raises
        ------
        OSError
            There is no room to write.
        """
        added = {"name": name} | {key: _plain(value) for key, value in entry.items()}
        for other, earlier in list(self.entries.items()):
            if other != name and (earlier["status"], earlier["image"]) == ("failed", added["image"]):
                self.remove(other)
                del self.entries[other]
        rows = list({**self.entries, name: added}.values())
        text = json.dumps({**self.about, "images": rows}, indent=1)
        try:
            files.write_text(self.folder / "results.json", text + "\n")
        except OSError:  # files without an entry would count as somebody else's
            self.remove(name)
            raise
        self.entries[name] = added
        files.write_text(self.folder / "results.csv", _table(rows))
        if segments := _segments(rows):
            files.write_text(self.folder / "segments.csv", segments)
        else:
            (self.folder / "segments.csv").unlink(missing_ok=True)

    @contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Replace an image's files, all or none, at the end of the block.

        Parameters
        ----------
        name : str
            The image's name.

        Yields
        ------
        Path
            A folder for the files.
        """
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=UNFINISHED) as aside:
            yield Path(aside)
            self.remove(name)
            for made in [path for path in Path(aside).rglob("*") if path.is_file()]:
                target = self.folder / made.relative_to(aside)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(made, target)

    def remove(self, name: str) -> None:
        """Remove an image's files.

        Parameters
        ----------
        name : str
            The image's name.
        """
        for path in self._files(name):
            path.unlink(missing_ok=True)

    def _files(self, name: str) -> list[Path]:
        return [self.folder / kind / f"{name}{suffix}" for kind, suffix in KINDS]

    def _is_free(self, name: str, path: Path, voxels: str | None) -> bool:
        entry = self.entries.get(name)
        if entry is None:
            return not any(map(os.path.lexists, self._files(name)))
        if entry["status"] == "failed" and entry["image"] == files.readable(str(path)):
            return True
        return voxels is not None and entry.get("voxels_sha256") == voxels


@contextmanager
def opened(folder: Path, about: Mapping[str, Any]) -> Iterator[Results]:
    """Open a folder of results for this process alone. The folder is created if it is missing.

    Parameters
    ----------
    folder : Path
        The folder.
    about : mapping
        What holds for all results, with the checksum of the model.

    Yields
    ------
    Results
        The results in the folder.

    Raises
    ------
    InputError
        The folder, or one for a kind of files in it, cannot be written to; or it holds results of another model.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{folder}: is not a folder; expected one to write to. Name another.") from error
    for path in (folder, *(folder / kind for kind, _ in KINDS)):
        if path.exists() and not os.access(path, os.W_OK | os.X_OK):
            raise InputError(f"{path}: cannot be written to. Make it writable, or name another folder.")
    with _alone(folder) as alone:
        for left in folder.glob(f"{UNFINISHED}*") if alone else ():
            shutil.rmtree(left, ignore_errors=True)
        entries = _earlier(folder, about)
        keep_edited(folder / "results.csv", _table(entries.values()))
        keep_edited(folder / "segments.csv", _segments(entries.values()))
        if not entries:  # then there is no page of an earlier call
            keep_edited(folder / "report.html", "")
        yield Results(folder, about, entries)


def checksum(array: Any, affine: Any) -> str:
    """Identify an image by its voxels and its geometry.

    Parameters
    ----------
    array : ndarray of shape (z, y, x)
        The voxels.
    affine : ndarray of shape (4, 4)
        The affine.

    Returns
    -------
    str
        The SHA-256 in hexadecimal digits.
    """
    digest = hashlib.sha256(repr(array.shape).encode())
    digest.update(array.tobytes())
    digest.update(affine.tobytes())
    return digest.hexdigest()


def scar_remarks(entry: Mapping[str, Any]) -> list[str]:
    """Say what is noted of an image's scar and not said before as a reason why a person should look at it.

    Why no scar is measured is said in any case, since a reason alone does not tell.

    Parameters
    ----------
    entry : mapping
        The image's entry, as in `results.json`.

    Returns
    -------
    list of str
        The remarks.
    """
    notes = entry.get("scar_notes") or []
    if "scar_method" not in entry:
        return [f"no scar measured: {note}" for note in notes]
    return [f"scar: {note}" for note in notes if note not in entry["reasons"]]


def keep_edited(path: Path, written: str) -> None:
    """Rename a file that is not as it was written, for instance since somebody added notes to it.

    Parameters
    ----------
    path : Path
        The file; it may be missing.
    written : str
        What it should hold.
    """
    if path.is_file() and path.read_bytes() != written.encode():
        names = (f"{path.stem}_edited{number}{path.suffix}" for number in itertools.chain([""], itertools.count(2)))
        kept = next(path.with_name(name) for name in names if not os.path.lexists(path.with_name(name)))
        path.rename(kept)
        print(f"{path}: is not as cardioseg wrote it, and is kept as {kept.name}", file=sys.stderr, flush=True)


def _names(wanted: str, path: Path) -> Iterator[str]:
    """Yield names that files can have: the wanted one, then with more and more folders of its path, then numbered."""
    *_, own = wanted.split("/")
    parents = [part for part in path.parent.parts if part != path.anchor]
    longer = ("/".join([*parents[-depth:], own]) for depth in range(1 + wanted.count("/"), len(parents) + 1))
    numbered = (f"{wanted}-{number}" for number in itertools.count(2))
    for name in itertools.chain([wanted], longer, numbered):
        yield "/".join(map(_component, name.split("/")))


def _component(name: str) -> str:
    """Return a name that a file or folder can have: printable, not too long, and neither "." nor ".."."""
    name = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in _storable(files.readable(name))
    )
    if len(name.encode()) > LONGEST_NAME:
        start = name.encode()[: LONGEST_NAME - 9].decode(errors="ignore")
        name = f"{start}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name if name.strip(".") else f"image{name}"


def _storable(text: str) -> str:
    """Return a text whose characters file names can have here: a locale without UTF-8 has few."""
    encoding = sys.getfilesystemencoding()
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _earlier(folder: Path, about: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    path = folder / "results.json"
    try:
        stored = json.loads(path.read_text())
        model, entries = stored["model_sha256"], {row["name"]: row for row in stored["images"]}
        if not all({"status", "image", "reasons"} <= set(row) for row in entries.values()):
            raise KeyError("an entry lacks what every entry has")
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}: is damaged, or not a table of earlier results. Correct or move it, or write to another folder."
        ) from error
    if model != about["model_sha256"]:
        raise InputError(
            f"{folder}: holds results of another model, {stored.get('model')}; expected those of {about['model']}. "
            "Write to another folder."
        )
    return entries


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return entries as CSV, without their segments."""
    return _csv({key: _in_a_cell(value) for key, value in row.items() if key not in OF_JSON_ALONE} for row in rows)


def _segments(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the segments of entries as CSV, where `name` is the image's, as in results.csv."""
    return _csv(
        {"name": row["name"], **{"segment_name" if key == "name" else key: value for key, value in segment.items()}}
        for row in rows
        for segment in row.get("segments", [])
    )


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    rows = list(rows)
    if not rows:
        return ""
    import pandas as pd  # not before there is a row: loading it takes a while

    return pd.DataFrame(rows).to_csv(index=False, float_format="%.6g", na_rep="N/A")


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Hold a lock on a folder, after waiting for others. File systems without locks are used without one.

    Yields whether there is a lock.
    """
    handle = os.open(folder, os.O_RDONLY)
    locked = False
    try:
        with suppress(OSError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"{folder}: another cardioseg writes there; waiting until it ends", file=sys.stderr, flush=True)
                fcntl.flock(handle, fcntl.LOCK_EX)
            locked = True
        yield locked
    finally:
        os.close(handle)


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold: without NaN, and without bytes that are no characters."""
    if isinstance(value, str):
        return files.readable(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Iterable):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _in_a_cell(value: Any) -> Any:
    return "; ".join(value) if isinstance(value, list) else value
