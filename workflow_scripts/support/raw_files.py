"""The cohort's files under names that stay when the data moves, so that Snakemake knows them again.

Snakemake repeats a step when its inputs have other paths. Therefore rules read links, and the user is told of the files
that these stand for. The links do not lie in results/: copying these must not copy the patients' images along.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cardioseg.core import checksums

if TYPE_CHECKING:  # not for the jobs, which start faster without it
    from cardioseg.cohort.plan import Cohort

RAW = Path(".snakemake/raw")
LOCKS = Path(".snakemake/locks")


def linked(cohort: "Cohort", make: bool, since: Mapping[str, float] | None = None) -> "Cohort":
    """The cohort with links in place of its files.

    With `make` they are made, and made anew where they lead elsewhere or are older than their file's content. since: by
    real path, when a file was first seen with its content. A new link has Snakemake compare the content with what it
    knows, whatever the file's own time is. Where there can be no link, as on file systems without them, or where a run
    in progress reads another file by it, the file stands for itself.
    """
    in_use = any(LOCKS.glob("*"))

    def link(modality: str, kind: str, patient: str, file: Path | None) -> Path | None:
        if file is None:
            return None
        suffix = ".nii.gz" if file.name.endswith(".nii.gz") else file.suffix
        path, target = RAW / modality / kind / f"{patient}{suffix}", file.absolute()
        if make:
            with suppress(OSError):
                _make(path, target, (since or {}).get(os.path.realpath(file), 0.0), in_use)
        return path if path.is_symlink() and path.readlink() == target else file

    volumes = {}
    for (modality, patient), files in cohort.volumes.items():
        image = link(modality, "images", patient, files.image)
        assert image
        labels = link(modality, "labels", patient, files.labels)
        volumes[modality, patient] = replace(files, image=image, labels=labels)
    return replace(cohort, volumes=volumes)


def given(path: str) -> str:
    """The file that a link stands for, as seen from here where it lies here; any other path as it is."""
    link = Path(path)
    if not link.is_symlink():
        return path
    near = os.path.relpath(link.readlink())
    return str(link.readlink()) if near.startswith("..") else near


def in_users_terms(text: str, paths: Iterable[str]) -> str:
    """A text with the users' files in place of the links to them."""
    for path in paths:
        text = text.replace(path, given(path))
    return text


def _make(path: Path, target: Path, since: float, in_use: bool) -> None:
    if path.is_symlink():
        leads_there = path.readlink() == target
        if (leads_there and path.lstat().st_mtime >= since) or (in_use and not leads_there):
            return
    elif path.exists():
        # Copying a folder of results may have made a file of a link.
        found = checksums.sha256([path, target])
        if found[str(path)] != found[str(target)]:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{os.getpid()}")
    aside.symlink_to(target)
    aside.replace(path)
