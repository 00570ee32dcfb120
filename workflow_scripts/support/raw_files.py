"""The cohort's files under names that stay when the data moves, so that Snakemake knows them again.

Snakemake repeats a step when its inputs have other paths. Therefore rules read links, and the user is told of the files
that these stand for. The links do not lie in results/: copying these must not copy the patients' images along.
"""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cardioseg.core import checksums, files

if TYPE_CHECKING:  # not for the jobs, which start faster without it
    from cardioseg.cohort.plan import Cohort

RAW = Path(".snakemake/raw")
MEMORY = Path(".snakemake/raw.json")
LOCKS = Path(".snakemake/locks")


def linked(cohort: "Cohort", contents: Mapping[str, str] | None = None) -> "Cohort":
    """The cohort with links in place of its files.

    contents: the checksum of each file. With it links are made, and made anew where they lead elsewhere or where
    another content was last behind them, wherever that lay. A new link has Snakemake compare the content with what it
    knows, whatever the file's own time is. A link that a run in progress reads stays, and stands for any file of its
    content. Where there can be no link, as on file systems without them, or where such a run reads another content by
    it, the file stands for itself.
    """
    in_use = any(LOCKS.glob("*"))
    before = {} if contents is None else _remembered()
    behind = dict(before)
    other = []

    def link(modality: str, kind: str, patient: str, file: Path | None) -> Path | None:
        if file is None:
            return None
        suffix = ".nii.gz" if file.name.lower().endswith(".nii.gz") else ".nii"
        path, target = RAW / modality / kind / f"{patient}{suffix}", file.absolute()
        same = False
        if contents is not None:
            same = before.get(str(path)) == contents[str(file)]
            with suppress(OSError):
                _make(path, target, same, in_use)
                if _leads(path, target):
                    behind[str(path)] = contents[str(file)]
        if _leads(path, target) or (in_use and same and path.exists()):
            return path
        if in_use and path.is_symlink():
            other.append(path)
        return file

    volumes = {}
    for (modality, patient), volume in cohort.volumes.items():
        image = link(modality, "images", patient, volume.image)
        assert image
        labels = link(modality, "labels", patient, volume.labels)
        volumes[modality, patient] = replace(volume, image=image, labels=labels)
    if behind != before:
        with suppress(OSError):
            files.write_text(MEMORY, json.dumps(behind))
    oddities = cohort.oddities
    if other:
        oddities = [
            *oddities,
            f"{LOCKS}: a run is in progress, or was killed (--unlock). It reads other images than those of this call, "
            "whose plan may show too many steps",
        ]
    return replace(cohort, volumes=volumes, oddities=oddities)


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


def _remembered() -> dict[str, str]:
    """By link, the checksum of what was last behind it; nothing where the record is damaged."""
    try:
        return {str(path): str(content) for path, content in json.loads(MEMORY.read_text("utf-8")).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _leads(path: Path, target: Path) -> bool:
    return path.is_symlink() and path.readlink() == target


def _make(path: Path, target: Path, same: bool, in_use: bool) -> None:
    """Make a link, unless it is there. same: whether what was last behind it is the target's content."""
    if path.is_symlink():
        leads_there = path.readlink() == target
        # Nobody reads by a link that leads nowhere, as after the data moved.
        held = in_use and not leads_there and (path.exists() or not same)
        if (leads_there and same) or held:
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
