"""Segmentation of many images: what is written for each image, and progress on the terminal."""

import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import matplotlib.image
import numpy as np
import torch

from cardioseg.clinical import scar
from cardioseg.clinical.examination import Examination
from cardioseg.cohort import inputs, orientation
from cardioseg.core import files
from cardioseg.core.errors import InputError
from cardioseg.figures import bulls_eye, scar_slices, sheet, style, uncertainty
from cardioseg.model import assessment, label_files, page, results, trained_model
from cardioseg.model.trained_model import TrainedModel

BAR = 24


def segment(
    named: Mapping[str, Path],
    model: TrainedModel,
    device: torch.device,
    out: Path,
    about: Mapping[str, str],
    sources: Mapping[str, Path] | None = None,
) -> list[str]:
    """Segment images and write what `command.WRITTEN` lists.

    An image that fails does not stop the others. The tables are written again after every image, the page at the end.
    Results of other
    images in the folder remain (see `results.Results.name`).

    Parameters
    ----------
    named : mapping of str to Path
        The images by name.
    model : TrainedModel
        The model.
    device : torch.device
        Where the networks compute.
    out : Path
        The folder to write to.
    about : mapping of str to str
        What results.json says about the model.
    sources : mapping of str to Path, optional
        The patients' source images by the names of the images, for a model that takes such.

    Returns
    -------
    list of str
        One status per image: `ok`, `review` if a person should check the result, or `failed` if the image cannot be
        used or causes an error. The tables give the reasons.

    Raises
    ------
    OSError
        There is no room to write.
    """
    shared = {**about, "structures": model.structures, "trained_with": model.versions}
    made_with = {"cardioseg": version("cardioseg"), "torch": str(torch.__version__), "device": str(device)}
    statuses: list[str] = []
    with results.opened(out, shared) as kept:
        label_files.write(out, "structures", model.structures)
        if model.settings["scar"]:
            label_files.write(out, "scar", scar.CODES)
        began = time.monotonic()
        _bar(0, len(named), 0)
        for wanted, path in named.items():
            start = time.monotonic()
            name, row = _try_one(wanted, path, model, device, kept, (sources or {}).get(wanted))
            row = {"image": str(path), "seconds": round(time.monotonic() - start, 2), **row, "made_with": made_with}
            kept.add(name, row)
            _tell(kept.entries[name], list(model.structures))
            statuses.append(row["status"])
            _bar(len(statuses), len(named), time.monotonic() - began)
        page.write(out, shared, list(kept.entries.values()))
    return statuses


def _try_one(
    wanted: str, path: Path, model: TrainedModel, device: torch.device, kept: results.Results, source: Path | None
) -> tuple[str, dict[str, Any]]:
    """Segment an image; returns the name of its files and its entry, also after an error, unless there is no room."""
    name = ""
    try:
        image = inputs.read(path)
        voxels = results.checksum(image.volume.array, image.volume.affine)
        name = kept.name(wanted, path, voxels)
        of_source = inputs.read(source) if source else None
        row = {**_segment_one(name, image, model, device, kept, of_source), "voxels_sha256": voxels}
        if name != wanted:
            row["notes"].append(f"its files are called {name}")
        return name, row
    except Exception as error:
        if isinstance(error, OSError) and error.errno in files.NO_ROOM:
            raise OSError(error.errno, error.strerror, str(kept.folder)) from error
        name = name or kept.name(wanted, path, None)
        kept.remove(name)
        return name, {"status": "failed", "reasons": [_explained(error, name, kept)]}


def _explained(error: Exception, name: str, kept: results.Results) -> str:
    """Return what the user is told of an error, and write the details of an unexpected one to a file."""
    if isinstance(error, InputError):
        return str(error)
    details = kept.folder / "errors" / f"{name}.txt"
    files.write_text(details, results.readable("".join(traceback.format_exception(error))))
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return f"an unexpected error ({reason}); details are in {details}"


def _segment_one(
    name: str,
    image: inputs.Image,
    model: TrainedModel,
    device: torch.device,
    kept: results.Results,
    source: inputs.Image | None,
) -> dict[str, Any]:
    structures, volume = list(model.structures), image.volume
    found = trained_model.segment(volume, model, device, source.volume if source else None)
    judged = assessment.assess(volume, found, model)
    of_source = (
        {"source": str(source.path), "source_agreement": found.witness.agreement} if source and found.witness else {}
    )
    with kept.replacing(name) as aside:
        inputs.write_map(aside / "uncertainty" / name, found.entropy, image)
        uncertain = aside / "uncertainty" / f"{name}.png"
        matplotlib.image.imsave(uncertain, uncertainty.slices(found.entropy, found.labels, volume.spacing))
        picture = aside / "slices" / f"{name}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        style.save(sheet.figure(volume, found.labels, "\n".join([name, *judged.reasons]), structures), [picture])
        _write_examination(aside, name, judged.examined, found.labels, image)
        colours = {structure: style.rgb(index) for index, structure in enumerate(structures)}
        without = inputs.write_for_archive(aside, name, found.labels, colours, image)
        mask = inputs.write_labels(aside / "masks" / name, found.labels, model.structures, image)
    return {
        **judged.entry(),
        "mask": str(kept.folder / mask.relative_to(aside)),
        **of_source,
        "notes": [*volume.notes, *_turning(found.orientation.turn), *without],
    }


def _turning(turn: orientation.Turn) -> list[str]:
    return [] if turn == orientation.AS_STORED else [f"{turn} for the networks, to the training cohort's orientation"]


def _write_examination(folder: Path, name: str, examined: Examination, labels: np.ndarray, image: inputs.Image) -> None:
    """Write the mask and the slices of the scar, and the bull's-eye of the segments, as far as there are any."""
    if examined.scar:
        inputs.write_labels(folder / "scar" / name, examined.scar.labels, scar.CODES, image)
        drawn = scar_slices.figure(image.volume, labels, examined.scar.labels, "\n".join([name, *examined.scar_notes]))
        style.save(drawn, [folder / "scar" / f"{name}.png"])
    if examined.segments:
        pictures = [folder / "segments" / f"{name}{suffix}" for suffix in (".png", ".svg")]
        pictures[0].parent.mkdir(parents=True, exist_ok=True)
        style.save(bulls_eye.figure(examined.segments, name), pictures)


def _tell(row: Mapping[str, Any], structures: Sequence[str]) -> None:
    _clear()
    if row["status"] == "failed":
        _say(f"{row['name']}  failed: {row['reasons'][0]}", sys.stderr)
        return
    numbers = [f"{structure} {row[f'{structure}_volume_ml']:.0f} ml" for structure in structures]
    if method := row.get("scar_method"):
        numbers.append(f"scar {row[f'scar_{method}_mass_g']:.1f} g ({method})")
    _say(f"{row['name']}  {'  '.join(numbers)}  ({row['seconds']:.1f} s)", sys.stdout)
    for reason in row["reasons"]:
        _say(f"  to be checked: {reason}", sys.stdout)
    for note in row.get("scar_notes", []):
        _say(f"  {'scar' if 'scar_method' in row else 'no scar measured'}: {note}", sys.stdout)


def _say(text: str, stream: TextIO) -> None:
    """Print a line, as long as somebody reads: a closed pipe (| head) is no reason to end."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _bar(done: int, count: int, seconds: float) -> None:
    """Show progress on the terminal's last line, if there is a terminal."""
    if not sys.stderr.isatty():
        return
    _clear()
    if done < count:
        left = f", {timedelta(seconds=round(seconds / done * (count - done)))} left" if done else ""
        print(f"[{'#' * (BAR * done // count):{BAR}}] {done}/{count}{left}", end="", file=sys.stderr, flush=True)


def _clear() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
