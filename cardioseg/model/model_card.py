"""The model card: a description of the trained model for its users, in Markdown."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from cardioseg.clinical.ring import OPEN_DEGREES
from cardioseg.model.review import LEAST_AGREEMENT, VOLUME_MARGIN
from cardioseg.model.trained_model import TrainedModel


def text(model: TrainedModel, onnx: str | None) -> str:
    """Write the model card.

    Parameters
    ----------
    model : TrainedModel
        The model.
    onnx : str or None
        What the check of the ONNX networks found; None if there are no such networks.

    Returns
    -------
    str
        The card in Markdown.
    """
    cohort = model.cohort
    names = ", ".join(model.structures)
    codes = ", ".join(f"{code} {name}" for name, code in model.structures.items())
    patients = cohort["patients"]
    low, high = cohort["spacing_mm"]
    parts = [
        f"# Segmentation of {names} in {cohort['target']} images",
        f"An ensemble of {len(model.members)} cascades of two networks each, trained by cardioseg on labelled "
        f"{cohort['source']} images and their translations into {cohort['target']} images, after Chen et al. (STACOM "
        f"2019); no labels of {cohort['target']} images were used for training.",
        *([_further(cohort)] if cohort["self_training"] else []),
        "## Use",
        "```sh\ncardioseg segment IMAGE... --model ensemble.pt --out DIR\n```",
        *(
            [
                f"With `--source IMAGE`, a {cohort['source']} image of the same examination: its own segmentation, "
                "registered, is fused with the ensemble's probabilities."
            ]
            if model.source_networks
            else []
        ),
        f"Input: {cohort['target']} images, one stack of slices per file. Output: masks in the image's geometry, with "
        f"the codes 0 background, {codes}.",
        _orientation(cohort["directions"]),
        "For research only. It is not a medical device, and does not replace a physician. Results may be worse for "
        "scanners, protocols and diseases that the training cohort does not have, and not every failure is flagged.",
        "## Training cohort",
        _table(
            ("", ""),
            [
                (f"{cohort['source']} images with labels", patients.get("labelled", 0)),
                (f"{cohort['source']} images for the translation", patients.get("translation_source", 0)),
                (f"{cohort['target']} images for the translation", patients.get("translation_target", 0)),
                (f"slices of {cohort['target']} images", f"{cohort['slices'][0]} to {cohort['slices'][1]}"),
                (
                    f"voxels of {cohort['target']} images (z, y, x)",
                    f"{_size(low)} to {_size(high)} mm",
                ),
                *(
                    (f"{name} in the labels", f"{least:.0f} to {most:.0f} ml")
                    for name, (least, most) in cohort["volumes_ml"].items()
                ),
            ],
        ),
        "## Translation",
        f"The translations of the {cohort['source']} images were made with these settings:",
        _yaml(model.translation),
        "## How well it did",
        _performance(cohort),
        "## What is flagged",
        "A person should check a result where",
        _list(_flagged(model)),
        "## What is done to an image",
        _yaml(model.settings),
        "## Versions of what exported it",
        _table(("component", "version"), list(model.versions.items())),
        "## Source files",
        _table(("file", "SHA-256"), list(model.sources.items())),
        "## Files",
        "`ensemble.pt`: weights and all of the above, as tensors and plain values; reading it runs no code.",
        *([f"`onnx/`: the networks for programs without torch. {onnx}"] if onnx else []),
        "## Licence",
        model.licence,
    ]
    return "\n\n".join(parts) + "\n"


def _flagged(model: TrainedModel) -> list[str]:
    """When a result has the status `review`."""
    flagged = [
        "the localiser finds no heart",
        f"a structure is missing, or its volume is more than a factor of {VOLUME_MARGIN:g} beyond those of the labels",
        f"the members disagree on a structure (mean Dice between them below {LEAST_AGREEMENT:g})",
        "a structure reaches the edge of the image, or the members that of the crop",
        "two or more slices are empty in which the networks see a heart",
        "it is in doubt which way round the image is stored, or sform and qform of its header disagree",
    ]
    if model.settings["clinical"]:
        flagged.append(f"the wall is open over {OPEN_DEGREES} degrees or more in a slice between base and apex")
    if model.settings["clinical"] and model.settings["scar"]:
        flagged.append("scar lies at the base alone")
    if model.source_networks:
        flagged.append("a source image was given and is not used, or disagrees with the ensemble")
    return flagged


def _list(entries: Sequence[str]) -> str:
    return "\n".join(f"- {entry}" for entry in entries)


def _orientation(directions: Sequence[Sequence[float]] | None) -> str:
    if directions is None:
        return (
            "The training images' headers do not tell their orientation, so an image is used as it is stored unless "
            "the networks recognise it another way round."
        )
    x, y = ("(" + ", ".join(f"{part:.2f}" for part in direction) + ")" for direction in directions)
    return (
        f"In the training images the x index grows towards {x}, the y index towards {y} (right, anterior, superior), "
        "on average. An image that is stored another way round, by its header, is turned for inference, and its mask "
        "is turned back. A header that cannot be believed, or that the networks contradict, is a reason to check the "
        "result."
    )


def _further(cohort: Mapping[str, Any]) -> str:
    fused = f", fused with registered manual labels of {cohort['source']} images of the same patients"
    return (
        f"Each member was then trained further on {cohort['target']} images without labels, with what the other "
        f"members see in them{fused if cohort['self_training']['fused'] else ''}."
    )


def _performance(cohort: Mapping[str, Any]) -> str:
    if not cohort["dice"]:
        return "Not measured: no test patient of the training workflow had labels."
    rows = [
        (name, f"{mean:.3f}" + ("" if math.isnan(deviation) else f" ({deviation:.3f})"), count)
        for name, (mean, deviation, count) in cohort["dice"].items()
    ]
    further = cohort["self_training"]
    return (
        f"Measured against manual masks of the workflow's test patients. Labelled {cohort['source']} images of "
        f"{cohort['seen']} of them were in the training set"
        + (f", and {cohort['target']} images of {further['tested']}, without their labels." if further else ".")
        + "\n\n"
        + _table(("structure", "Dice, mean (standard deviation)", "patients"), rows)
    )


def _yaml(settings: Mapping[str, Any]) -> str:
    return f"```yaml\n{yaml.safe_dump(dict(settings), sort_keys=False, default_flow_style=None)}```"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _size(spacing: Sequence[float]) -> str:
    return " x ".join(f"{mm:.3g}" for mm in spacing)
