"""Segmentation of many images: what is written for each image, and progress on the terminal."""

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import torch

from cardioseg.cohort import inputs
from cardioseg.core import files, imports
from cardioseg.core.errors import InputError
from cardioseg.model import results, segmentation
from cardioseg.model.segmentation import Segmentation
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

    While the networks see an image, the next one is read, and the results of the one before are drawn and written,
    but for the first, whose results come at once. What draws is loaded beside the networks of the first. An image
    that fails does not stop the others. The tables are written again after every image, the page at the end, also of
    a call that is interrupted. Results of other images in the folder remain (see `results.Results.name`).

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
    shared = {**about, "structures": model.structures, "exported_with": model.versions}
    made_with = {"cardioseg": version("cardioseg"), "torch": str(torch.__version__), "device": str(device)}
    statuses: list[str] = []
    # The page comes after what the thread still writes when the user interrupts.
    with results.opened(out, shared) as kept, _page_at_the_end(kept), ThreadPoolExecutor(1) as beside:
        began = time.monotonic()
        _bar(0, len(named), 0)

        def read(wanted: str, path: Path) -> Future:
            return beside.submit(_tried, _read, path, (sources or {}).get(wanted))

        def tell(written: Future) -> None:
            entry = kept.entries[written.result()]
            _tell(entry, list(model.structures))
            statuses.append(entry["status"])
            _bar(len(statuses), len(named), time.monotonic() - began)

        images = list(named.items())
        following = [read(*image) for image in images[:1]]
        begun = beside.submit(_begin_to_write, out, model)
        writing: list[Future] = []
        try:
            for index, (wanted, path) in enumerate(images):
                start = time.monotonic()
                given = following.pop().result()
                following = [read(*image) for image in images[index + 1 : index + 2]]
                found = given if isinstance(given, Exception) else _tried(_see, given, model, device)
                begun.result()
                while writing:
                    tell(writing.pop())
                writing = [beside.submit(_keep, wanted, path, given, found, model, kept, start, made_with)]
                if index == 0:  # a first result soon, which the next image's networks would hold up
                    tell(writing.pop())
        finally:  # also where the user interrupts what comes after it
            while writing:
                tell(writing.pop())
    return statuses


@contextmanager
def _page_at_the_end(kept: results.Results) -> Iterator[None]:
    """Write the page at the end of the block, also where the user interrupts it or there is no more room.

    Without any results there is none.
    """

    def write() -> None:
        from cardioseg.model import page

        if kept.entries:
            page.write(kept.folder, kept.about, list(kept.entries.values()))

    try:
        yield
    except (KeyboardInterrupt, OSError):
        with suppress(OSError):
            write()
        raise
    write()


class _Read(NamedTuple):
    """An image, a checksum of its voxels, and its patient's source image, if there is one, or why it cannot be read."""

    image: inputs.Image
    voxels: str
    source: inputs.Image | Exception | None


def _tried(step: Callable[..., Any], *arguments: Any) -> Any:
    """What a step returns, or the error that it raises."""
    try:
        return step(*arguments)
    except Exception as error:
        return error


def _read(path: Path, source: Path | None) -> _Read:
    image = inputs.read(path)
    voxels = results.checksum(image.volume.array, image.volume.affine)
    return _Read(image, voxels, _tried(inputs.read, source) if source else None)


def _see(given: _Read, model: TrainedModel, device: torch.device) -> Segmentation:
    if isinstance(given.source, Exception):
        raise given.source
    source = given.source.volume if given.source else None
    return segmentation.segment(given.image.volume, model, device, source)


def _begin_to_write(out: Path, model: TrainedModel) -> None:
    """Load what assesses and draws, which takes a while and is not needed before, and write what the codes mean."""
    with imports.uncollected():
        from cardioseg.model import image_files, page  # noqa: F401
    image_files.write_codes(out, model)


def _keep(
    wanted: str,
    path: Path,
    given: _Read | Exception,
    found: Segmentation | Exception,
    model: TrainedModel,
    kept: results.Results,
    start: float,
    made_with: Mapping[str, str],
) -> str:
    """Write what is found in an image, and its entry in the tables; returns the name of its files.

    An error, in an earlier step or here, gives an entry as well, unless there is no room. Results of an earlier call
    remain beside it.
    """
    from cardioseg.model import image_files

    name = ""
    try:
        if isinstance(given, Exception):
            raise given
        name = kept.name(wanted, path, given.voxels)
        if isinstance(found, Exception):
            raise found
        source = given.source if isinstance(given.source, inputs.Image) else None
        row = {**image_files.write(name, given.image, source, found, model, kept), "voxels_sha256": given.voxels}
        if name != wanted:
            row["notes"].append(f"its files are called {name}")
    except Exception as error:
        if isinstance(error, OSError) and error.errno in files.NOT_WRITABLE:
            raise OSError(error.errno, error.strerror, str(kept.folder)) from error
        if not name or kept.entries.get(name, {"status": "failed"})["status"] != "failed":
            name = kept.name(wanted, path, None)
        kept.remove(name)
        row = {"status": "failed", "reasons": [_explained(error, name, kept)]}
    seconds = round(time.monotonic() - start, 2)
    kept.add(name, {"image": str(path), "seconds": seconds, **row, "made_with": made_with})
    return name


def _explained(error: Exception, name: str, kept: results.Results) -> str:
    """Return what the user is told of an error, and write the details of an unexpected one to a file."""
    if isinstance(error, InputError):
        return str(error)
    details = kept.folder / "errors" / f"{name}.txt"
    files.write_text(details, files.readable("".join(traceback.format_exception(error))))
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return f"an unexpected error ({reason}); details are in {details}"


def _tell(row: Mapping[str, Any], structures: Sequence[str]) -> None:
    _clear()
    if row["status"] == "failed":
        say(f"{row['name']}  failed: {row['reasons'][0]}", sys.stderr)
        return
    numbers = [f"{structure} {row[f'{structure}_volume_ml']:.0f} ml" for structure in structures]
    if method := row.get("scar_method"):
        numbers.append(f"scar {row[f'scar_{method}_mass_g']:.1f} g ({method})")
    say(f"{row['name']}  {'  '.join(numbers)}  ({row['seconds']:.1f} s)", sys.stdout)
    for reason in row["reasons"]:
        say(f"  to be checked: {reason}", sys.stdout)
    for remark in results.scar_remarks(row):
        say(f"  {remark}", sys.stdout)


def say(text: str, stream: TextIO) -> None:
    """Print a line, as long as somebody reads: a closed pipe (| head) is no reason to end.

    Parameters
    ----------
    text : str
        The line.
    stream : TextIO
        Where it goes.
    """
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
