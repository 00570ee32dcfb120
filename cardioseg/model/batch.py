"""Segmenting many images: what is written for each, and the tables of all."""

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from cardioseg.cohort import inputs
from cardioseg.core import files
from cardioseg.core.errors import InputError
from cardioseg.evaluation import clinical
from cardioseg.figures import sheet, style
from cardioseg.model import review, trained_model
from cardioseg.model.trained_model import TrainedModel

BAR = 24


def segment(
    named: Mapping[str, Path], model: TrainedModel, device: torch.device, out: Path, about: Mapping[str, str]
) -> list[str]:
    """Segment images (paths by name) and write to `out` what `command.WRITTEN` lists, `about` in results.json.

    Returns a status an image: 'ok', 'review' where a person should look at the result, 'failed' where the image cannot
    be used, which the tables explain; the others go on. The tables are written anew after every image.
    """
    made_with: dict[str, Any] = {
        **about,
        "cardioseg": version("cardioseg"),
        "torch": str(torch.__version__),
        "device": str(device),
        "structures": model.structures,
        "trained_with": model.versions,
    }
    rows: list[dict[str, Any]] = []
    began = time.monotonic()
    _bar(0, len(named), 0)
    for name, path in named.items():
        start = time.monotonic()
        try:
            row = _segment_one(name, inputs.read(path), model, device, out)
        except InputError as error:
            row = {"status": "failed", "reasons": [str(error)]}
        rows.append({"name": name, "image": str(path), "seconds": round(time.monotonic() - start, 2)} | row)
        _write_tables(rows, made_with, out)
        _tell(rows[-1], list(model.structures))
        _bar(len(rows), len(named), time.monotonic() - began)
    return [row["status"] for row in rows]


def _segment_one(
    name: str, image: inputs.Image, model: TrainedModel, device: torch.device, out: Path
) -> dict[str, Any]:
    structures, volume = list(model.structures), image.volume
    found = trained_model.segment(volume, model, device)
    measured = clinical.measure(found.labels, volume.spacing, structures, model.settings["clinical"])
    agreements = review.agreement(found.members, structures)
    why = review.reasons(
        {structure: measured[f"{structure}_volume_ml"] for structure in structures},
        model.cohort["volumes_ml"],
        agreements,
        found.members,
        found.location.found,
    )
    inputs.write_map(out / "uncertainty" / name, found.entropy, image)
    picture = out / "slices" / f"{name}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    style.save(sheet.figure(volume, found.labels, "\n".join([name, *why]), structures), [picture])
    inputs.write_for_archive(out / "dicom" / name, found.labels, structures, image)
    mask = inputs.write_labels(out / "masks" / name, found.labels, model.structures, image)
    return {
        "status": "review" if why else "ok",
        "reasons": why,
        "mask": str(mask),
        **measured,
        **{f"{structure}_agreement": value for structure, value in agreements.items()},
        "notes": [*volume.notes, *(["turned to the training cohort's orientation"] if found.turned else [])],
    }


def _write_tables(rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any], out: Path) -> None:
    plain = [{key: _plain(value) for key, value in row.items()} for row in rows]
    files.write_text(out / "results.json", json.dumps({**about, "images": plain}, indent=1) + "\n")
    flat = [{key: "; ".join(value) if isinstance(value, list) else value for key, value in row.items()} for row in rows]
    files.write_text(out / "results.csv", pd.DataFrame(flat).to_csv(index=False, float_format="%.3f", na_rep="N/A"))


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _tell(row: Mapping[str, Any], structures: Sequence[str]) -> None:
    _clear()
    if row["status"] == "failed":
        print(f"{row['name']}  failed: {row['reasons'][0]}", file=sys.stderr)
        return
    volumes = "  ".join(f"{structure} {row[f'{structure}_volume_ml']:.0f} ml" for structure in structures)
    print(f"{row['name']}  {volumes}  ({row['seconds']:.1f} s)", flush=True)
    for reason in row["reasons"]:
        print(f"  to be looked at: {reason}", flush=True)


def _bar(done: int, count: int, seconds: float) -> None:
    """How far it is, on the terminal's last line; nothing where there is no terminal."""
    if not sys.stderr.isatty():
        return
    _clear()
    if done < count:
        left = f", {timedelta(seconds=round(seconds / done * (count - done)))} left" if done else ""
        print(f"[{'#' * (BAR * done // count):{BAR}}] {done}/{count}{left}", end="", file=sys.stderr, flush=True)


def _clear() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
