"""The results of a folder as one page to look at: numbers, what stands out, pictures, and links to the files."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cardioseg.core import files, templates
from cardioseg.figures import embedding
from cardioseg.model import results

# What is shown of an image, in this order: title, what a reader must know beside it, folder and suffix.
PICTURES = (
    ("Slices", "", "slices", ".png"),
    ("Uncertainty", "of the same slices, from black (certain) to yellow (all classes alike)", "uncertainty", ".png"),
    ("Scar", "", "scar", ".png"),
    ("Segments", "", "segments", ".png"),
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
# The columns' places from left to right: what is asked for first is in sight.
MASS, SCAR, VOLUME, THICKNESS, AGREEMENT = range(5)
UNITS = (
    (MASS, "_mass_g", "g"),
    (VOLUME, "_volume_ml", "ml"),
    (THICKNESS, "_thickness_mm", "thickness, mm"),
    (AGREEMENT, "_agreement", "agreement"),
)


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
    columns = sorted(
        dict.fromkeys(column for entry in entries for column in _numbers(entry)), key=lambda column: column[0]
    )
    rows = [
        {
            "name": entry["name"],
            "image": entry["image"],
            "status": entry["status"],
            "reasons": entry["reasons"],
            "scar_remarks": results.scar_remarks(entry),
            "notes": entry.get("notes") or [],
            "cells": [_cell(_numbers(entry).get(column)) for column in columns],
            "thumbnail": embedding.address(folder / "slices" / f"{entry['name']}.png", THUMBNAIL),
            "pictures": [
                (title, about, _link(path), shown)
                for title, about, kind, suffix in PICTURES
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
        "cardioseg.model",
        "page.html.j2",
        model=about["model"],
        columns=[title for _, title in columns],
        rows=rows,
        counts=counts,
    )
    files.write_text(folder / "report.html", text)


def _numbers(entry: Mapping[str, Any]) -> dict[tuple[int, str], Any]:
    """Return the numbers of an entry by the place and the title of their column."""
    shown = {}
    for key, value in entry.items():
        for place, suffix, unit in UNITS:
            # The mass of the scar has columns of its own; but a structure may be called scar, too.
            if key.endswith(suffix) and not (place == MASS and key.startswith("scar_")):
                shown[place, f"{key.removesuffix(suffix)} {unit}".replace("_", " ")] = value
    if method := entry.get("scar_method"):
        measured = {
            "scar g": entry[f"scar_{method}_mass_g"],
            "scar %": entry[f"scar_{method}_percent"],
            "dark core ml": entry[f"dark_core_{method}_ml"],
            "scar method": method,
            "scar threshold": entry[f"scar_{method}_threshold"],
        }
        shown |= {(SCAR, title): value for title, value in measured.items()}
    return shown


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOT_AVAILABLE
    return value if isinstance(value, str) else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _link(path: str) -> str:
    return quote(path, errors="surrogatepass")
