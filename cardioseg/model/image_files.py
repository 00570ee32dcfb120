"""What is written of one image: mask, maps, pictures, and an entry of the table."""

from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np

from cardioseg.clinical import scar
from cardioseg.clinical.examination import Examination
from cardioseg.cohort import inputs
from cardioseg.core.turns import AS_STORED, Turn
from cardioseg.figures import bulls_eye, scar_slices, sheet, style, uncertainty
from cardioseg.model import assessment, label_files
from cardioseg.model.results import Results
from cardioseg.model.segmentation import Segmentation
from cardioseg.model.trained_model import TrainedModel


def write_codes(folder: Path, model: TrainedModel) -> None:
    """Write the names and colours of the masks' codes, see `label_files`.

    Parameters
    ----------
    folder : Path
        The folder of results.
    model : TrainedModel
        The model.
    """
    label_files.write(folder, "structures", model.structures)
    if model.settings["scar"]:
        label_files.write(folder, "scar", scar.CODES)


def write(
    name: str,
    image: inputs.Image,
    source: inputs.Image | None,
    found: Segmentation,
    model: TrainedModel,
    kept: Results,
) -> dict[str, Any]:
    """Judge what a model found in an image, and write its files in the place of earlier ones, all or none.

    Parameters
    ----------
    name : str
        The name of the image's files.
    image : Image
        The image.
    source : Image or None
        The patient's source image, if there was one.
    found : Segmentation
        What the model found.
    model : TrainedModel
        The model.
    kept : Results
        The folder of results.

    Returns
    -------
    dict
        The image's entry, by column.
    """
    structures, volume = list(model.structures), image.volume
    judged = assessment.assess(volume, found, model)
    of_source = {}
    if source and found.witness:
        of_source = {"source": str(source.path), "source_agreement": found.witness.agreement}
    with kept.replacing(name) as aside:
        inputs.write_map(aside / "uncertainty" / name, found.entropy, image)
        uncertain = aside / "uncertainty" / f"{name}.png"
        uncertainties = uncertainty.slices(found.entropy, found.labels, volume)
        matplotlib.image.imsave(uncertain, uncertainties, pil_kwargs={"compress_level": style.COMPRESSION})
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
        "notes": [*volume.notes, *_of_source(source), *_turning(found.orientation.turn), *without],
    }


def _of_source(source: inputs.Image | None) -> list[str]:
    return [f"source image: {note}" for note in source.volume.notes] if source else []


def _turning(turn: Turn) -> list[str]:
    return [] if turn == AS_STORED else [f"{turn} for the networks, to the training cohort's orientation"]


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
