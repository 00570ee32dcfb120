"""The results of a folder as one page to look at: numbers, what stands out, pictures, and links to the files."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cardioseg.core import files, templates
from cardioseg.figures import embedding

# What is shown of an image, in this order, by its folder and suffix.
PICTURES = (
    ("Slices", "slices", ".png"),
    ("Uncertainty", "uncertainty", ".png"),
    ("Scar", "scar", ".png"),
    ("Segments", "segments", ".png"),
)
FILES = (
    ("mask", "masks", ".nii.gz"),
    ("DICOM-SEG", "dicom", ".dcm"),
    ("RTSTRUCT", "rtstruct", ".dcm"),
    ("uncertainty", "uncertainty", ".nii.gz"),
    ("scar", "scar", ".nii.gz"),
    ("bull's-eye", "segments", ".svg"),
    ("error", "errors", ".txt"),
)
# In pixels. Pictures are embedded at reading size; the files that they link to are larger.
WIDTH, THUMBNAIL = 900, 160
NOT_AVAILABLE = "N/A"


def write(folder: Path, about: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> None:
    """Write `report.html`, which needs nothing but itself to be shown; its links lead to the files beside it.

    Parameters
    ----------
    folder : Path
        The folder of results.
    about : mapping
        What holds for all of them: `model` is named.
    entries : sequence of mapping
        An entry an image, as in `results.json`.
    """
    columns = list(dict.fromkeys(column for entry in entries for column in _numbers(entry)))
    rows = [
        {
            "name": entry["name"],
            "image": entry["image"],
            "status": entry["status"],
            "reasons": entry["reasons"],
            "scar_notes": entry.get("scar_notes") or [],
            "notes": entry.get("notes") or [],
            "cells": [_cell(_numbers(entry).get(column)) for column in columns],
            "thumbnail": embedding.address(folder / "slices" / f"{entry['name']}.png", THUMBNAIL),
            "pictures": [
                (title, _link(path), shown)
                for title, kind, suffix in PICTURES
                if (shown := embedding.address(folder / (path := f"{kind}/{entry['name']}{suffix}"), WIDTH))
            ],
            "files": [
                (title, _link(path))
                for title, kind, suffix in FILES
                if (folder / (path := f"{kind}/{entry['name']}{suffix}")).exists()
            ],
        }
        for entry in entries
    ]
    counts = {status: sum(row["status"] == status for row in rows) for status in ("ok", "review", "failed")}
    text = templates.render(
        "cardioseg.model", "page.html.j2", model=about["model"], columns=columns, rows=rows, counts=counts
    )
    files.write_text(folder / "report.html", text)


def _numbers(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of an entry by what a reader is shown, with their units."""
    shown = {}
    for key, value in entry.items():
        for suffix, unit in (("_volume_ml", "ml"), ("_thickness_mm", "thickness, mm"), ("_agreement", "agreement")):
            if key.endswith(suffix):
                shown[f"{key.removesuffix(suffix)} {unit}".replace("_", " ")] = value
        if key.endswith("_mass_g") and not key.startswith("scar_"):
            shown[f"{key.removesuffix('_mass_g')} g"] = value
    if method := entry.get("scar_method"):
        shown["scar g"] = entry[f"scar_{method}_mass_g"]
        shown["scar %"] = entry[f"scar_{method}_percent"]
        shown["scar method"] = method
        shown["scar threshold"] = entry[f"scar_{method}_threshold"]
        shown["dark core ml"] = entry[f"dark_core_{method}_ml"]
    return shown


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOT_AVAILABLE
    return value if isinstance(value, str) else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _link(path: str) -> str:
    return quote(path, errors="surrogatepass")
