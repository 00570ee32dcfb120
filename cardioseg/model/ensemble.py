"""The trained ensemble as one object: gathered from a finished workflow, kept in one file, applied to a new image."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cardioseg.cohort import orientation
from cardioseg.core import checkpoints, configuration, volumes
from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.inference import postprocessing, raw_labels, uncertainty
from cardioseg.model import training_cohort
from cardioseg.preprocessing import cropping, localisation, resampling
from cardioseg.preprocessing.localisation import Location
from cardioseg.segmentation import cascade
from cardioseg.segmentation.unet import predict

FORMAT = "cardioseg ensemble 1"
# The sections of the configuration that say what is done to an image.
SECTIONS = ("resampling", "localisation", "cropping", "segmentation", "postprocessing", "clinical")
# What a file holds beside the weights.
ABOUT = ("settings", "structures", "cohort", "versions", "licence")
LICENCE = (
    "None is stated. What was learnt from patients' images is bound by the terms of the training cohort: ask its owner "
    "before you pass this on."
)


@dataclass(frozen=True)
class Ensemble:
    """What segments an image, and where it comes from.

    settings: the configuration's sections of `SECTIONS`. structures: codes in masks, in the order of the classes.
    localiser: finds the heart, has a `stride`. members: the cascades, by seed, from slices to class scores. cohort: see
    `training_cohort.summarise`. versions: of what it was trained with, by component. licence: who may use it for what.
    """

    settings: dict[str, Any]
    structures: dict[str, int]
    localiser: nn.Module
    members: dict[int, nn.Module]
    cohort: dict[str, Any]
    versions: dict[str, str]
    licence: str


@dataclass(frozen=True)
class Segmentation:
    """What an ensemble makes of an image.

    labels: (z, y, x; uint8) on the image's grid. entropy: (z, y, x) on the image's grid, see `uncertainty.maps`; 0
    outside of the crop. members: labels of each member alone, (members, z, y, x) on the crop's grid.
    """

    labels: np.ndarray
    entropy: np.ndarray
    members: np.ndarray
    location: Location
    turned: bool


def load(path: Path | str) -> Ensemble:
    """The ensemble of a folder that the workflow has finished, or of a file made by `save`; InputError for others."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such model; expected a file made by `cardioseg export`, or a folder of results.")
    return _from_results(path) if path.is_dir() else _from_file(path)


def save(path: Path | str, ensemble: Ensemble) -> None:
    """Write an ensemble as one file of tensors and plain values, which `load` reads on any machine."""
    weights = {
        "localiser": ensemble.localiser.state_dict(),
        "members": {seed: member.state_dict() for seed, member in ensemble.members.items()},
    }
    about = {name: getattr(ensemble, name) for name in ABOUT}
    checkpoints.save(path, {"format": FORMAT, "about": about, "weights": weights})


def segment(image: Volume, ensemble: Ensemble, device: torch.device) -> Segmentation:
    """Segment a raw image (z, y, x) as the workflow does: what it does in single steps is done here in one go.

    An image that is stored another way round than the training cohort's is turned in-plane first. Raises InputError for
    an image whose intensities cannot be normalised.
    """
    settings = ensemble.settings
    turn = _turn(image, ensemble.cohort["directions"])
    raw = turn.apply(image)
    resampled = volumes.as_stored(resampling.resample(raw, settings["resampling"]["spacing_mm"]))
    stride = int(ensemble.localiser.stride)  # type: ignore[arg-type]
    location = localisation.locate(resampled, ensemble.localiser, settings["localisation"], stride, device)
    crop = volumes.as_stored(cropping.crop_and_normalise(resampled, location.centre, settings["cropping"]))
    members = [predict(member, crop.array, device) for member in ensemble.members.values()]
    refined = postprocessing.dense_crf(
        crop.array, raw_labels.ensemble(members), crop.spacing, **settings["postprocessing"]["crf"]
    )
    labels = postprocessing.smooth_structures(
        raw_labels.raw_labels(Volume(refined, crop.affine), raw),
        raw.spacing,
        settings["postprocessing"]["morphology"],
        list(ensemble.structures),
    )
    entropy = Volume(uncertainty.predictive_entropy(members)[np.newaxis], crop.affine)
    return Segmentation(
        labels=turn.undo(labels),
        entropy=turn.undo(resampling.on_grid(entropy, raw.array.shape, raw.affine)[0]),
        members=np.stack([member.argmax(axis=0) for member in members]),
        location=location,
        turned=turn != orientation.Turn(),
    )


def _turn(image: Volume, directions: list[list[float]] | None) -> orientation.Turn:
    if directions is None or volumes.NO_GEOMETRY in image.notes:
        return orientation.Turn()
    return orientation.nearest(image.affine, np.array(directions))


def _from_results(folder: Path) -> Ensemble:
    path = folder / "provenance.json"
    if not path.exists():
        raise InputError(
            f"{path}: no such file; expected the results of a workflow that has run to its end, or a file made by "
            "`cardioseg export`."
        )
    record = json.loads(path.read_text())
    settings = record["configuration"]
    try:
        configuration.check(settings)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    structures = configuration.structures(settings)
    localiser, members = _networks(settings, 1 + len(structures), settings["ensemble"])
    checkpoints.load_weights(folder / "localisation" / "network.pt", localiser)
    for seed, member in members.items():
        trained = folder / "segmentation" / f"seed{seed}"
        checkpoints.load_weights(trained / "unet_finetuned.pt", member.first)
        checkpoints.load_weights(trained / "cascade_finetuned.pt", member.second)
    return Ensemble(
        settings={name: settings[name] for name in SECTIONS},
        structures=structures,
        localiser=localiser,
        members=dict(members),
        cohort=training_cohort.summarise(folder, settings["cohort"], list(structures)),
        versions={"code": str(record["code"]["commit"]), **record["versions"]},
        licence=LICENCE,
    )


def _from_file(path: Path) -> Ensemble:
    content = checkpoints.load(path)
    try:
        if content["format"] != FORMAT:
            raise KeyError(content["format"])
        about, weights = content["about"], content["weights"]
        localiser, members = _networks(about["settings"], 1 + len(about["structures"]), list(weights["members"]))
        localiser.load_state_dict(weights["localiser"])
        for seed, member in members.items():
            member.load_state_dict(weights["members"][seed])
        return Ensemble(localiser=localiser, members=dict(members), **about)
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path}: is no ensemble of this version of cardioseg ({FORMAT!r}). Export the ensemble anew."
        ) from error


def _networks(
    settings: Mapping[str, Any], classes: int, seeds: Sequence[int]
) -> tuple[nn.Module, dict[int, cascade.Cascade]]:
    """The localiser and a cascade a seed, as the settings say, untrained."""
    of_cascade = settings["segmentation"]
    return localisation.network(settings["localisation"], classes), {
        seed: cascade.Cascade(cascade.first_network(of_cascade, classes), cascade.second_network(of_cascade, classes))
        for seed in seeds
    }
