"""Results that jobs keep aside, with a note of what they were made from."""

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from cardioseg.core import checksums, files

# Not in results/, which may be copied: on disk the files here are the same as the results.
KEPT = Path(".snakemake/kept")
NOTE = "note.json"


class Kept:
    """Results in a folder of their own: links to the same files, or copies where there are no links."""

    def __init__(self, folder: Path, made_from: str, results: Iterable[Path | str]) -> None:
        self._note, self._made_from = folder / NOTE, made_from
        self._pairs = [(Path(path), folder / f"{index}_{Path(path).name}") for index, path in enumerate(results)]

    def restore(self) -> bool:
        """Put the results in place, if they were made from the same and nobody has changed them since."""
        try:
            note = json.loads(self._note.read_text("utf-8"))
            if note != {"made from": self._made_from, "results": self._contents([kept for _, kept in self._pairs])}:
                return False
        except (OSError, ValueError):
            return False
        for result, kept in self._pairs:
            _link(kept, result)
            os.utime(result)
        return True

    def keep(self) -> None:
        """Keep the results."""
        shutil.rmtree(self._note.parent, ignore_errors=True)
        for result, kept in self._pairs:
            _link(result, kept)
        note = {"made from": self._made_from, "results": self._contents([result for result, _ in self._pairs])}
        files.write_text(self._note, json.dumps(note))

    def _contents(self, paths: Sequence[Path]) -> dict[str, str]:
        """The checksums of these files by the results that they are."""
        contents = checksums.sha256(paths)
        return {str(result): contents[str(path)] for (result, _), path in zip(self._pairs, paths, strict=True)}


def forget_removed(folder: Path = KEPT) -> None:
    """Remove what is kept of results that are not there any more."""
    for note in list(folder.rglob(NOTE)):
        if not any(Path(result).exists() for result in json.loads(note.read_text("utf-8"))["results"]):
            shutil.rmtree(note.parent)


def _link(path: Path, other: Path) -> None:
    """Let the other path be the same file, or a copy."""
    other.parent.mkdir(parents=True, exist_ok=True)
    other.unlink(missing_ok=True)
    try:
        other.hardlink_to(path)
    except OSError:
        shutil.copy2(path, other)
