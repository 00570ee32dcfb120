"""The trained model: gathered from its networks, kept in one file, applied to a new image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cardioseg.cohort import orientation
from cardioseg.core import checkpoints, checksums, volumes
from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.inference import postprocessing, raw_labels, uncertainty, views
from cardioseg.preprocessing import localisation, resampling
from cardioseg.preprocessing.localisation import Location
from cardioseg.segmentation import cascade

FORMAT = "cardioseg ensemble 3"
# The model file in a folder of results.
FILE = Path("model", "ensemble.pt")
# The sections of the configuration that say what is done to an image.
SECTIONS = ("resampling", "localisation", "cropping", "segmentation", "postprocessing", "clinical")
# Contents of the file other than weights.
ABOUT = ("settings", "structures", "cohort", "versions", "sources", "licence")
LICENCE = (
    "None is stated. What was learnt from patients' images is bound by the terms of the training cohort: ask its owner "
    "before you pass this on."
)


@dataclass(frozen=True)
class TrainedModel:
    """The networks and settings that segment an image, and what they come from.

    Attributes
    ----------
    settings : dict
        The configuration's sections of `SECTIONS`.
    structures : dict of str to int
        Codes in masks, in the order of the networks' classes.
    localiser : Module
        The network that finds the heart; has a `stride`.
    members : dict of int to Module
        By seed, the cascades, from slices to class scores.
    cohort : dict
        As from `training_cohort.summarise`.
    versions : dict of str to str
        Versions of what it was trained with, by component.
    sources : dict of str to str
        SHA-256 of the files it was made from, by name.
    licence : str
        Who may use it for what.
    """

    settings: dict[str, Any]
    structures: dict[str, int]
    localiser: nn.Module
    members: dict[int, nn.Module]
    cohort: dict[str, Any]
    versions: dict[str, str]
    sources: dict[str, str]
    licence: str


@dataclass(frozen=True)
class Segmentation:
    """What a model finds in an image.

    Attributes
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        Labels on the grid of the image.
    entropy : ndarray, shape (z, y, x)
        Uncertainty on the grid of the image, see `uncertainty.maps`; 0 outside of the crop.
    members : ndarray of int, shape (members, z, y, x)
        Labels of each member alone, on the grid of the crop.
    location : Location
        Where the heart was found.
    turned : bool
        Whether the image was turned for inference.
    """

    labels: np.ndarray
    entropy: np.ndarray
    members: np.ndarray
    location: Location
    turned: bool


def gather(
    settings: Mapping[str, Any],
    structures: Mapping[str, int],
    localiser: Path | str,
    members: Mapping[int, tuple[Path | str, Path | str]],
    cohort: Mapping[str, Any],
    versions: Mapping[str, str],
    sources: Mapping[str, str],
) -> TrainedModel:
    """Build a model from the weights of its trained networks.

    Parameters
    ----------
    settings : mapping
        The configuration, or at least its sections of `SECTIONS`.
    structures : mapping of str to int
        Codes in masks, in the order of the networks' classes.
    localiser : Path or str
        File with the localiser's weights.
    members : mapping of int to (Path or str, Path or str)
        By seed, the files with the weights of the cascade's first and second network.
    cohort, versions, sources : mapping
        As in `TrainedModel`.

    Returns
    -------
    TrainedModel
        The model, without a licence.

    Raises
    ------
    InputError
        A file of weights is missing or damaged, or does not fit the settings.
    """
    classes = 1 + len(structures)
    return TrainedModel(
        settings={name: settings[name] for name in SECTIONS},
        structures=dict(structures),
        localiser=localisation.load(settings["localisation"], classes, localiser),
        members={
            seed: cascade.load(settings["segmentation"], classes, first, second)
            for seed, (first, second) in members.items()
        },
        cohort=dict(cohort),
        versions=dict(versions),
        sources=dict(sources),
        licence=LICENCE,
    )


def find(path: Path | str) -> Path:
    """Return the model file that a path stands for.

    Parameters
    ----------
    path : Path or str
        The file, or a workflow's folder of results, which has it as `FILE`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        There is no such file.
    """
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise InputError(
            f"{file}: no such model; expected the file {FILE.name} that the workflow writes at its end, or the folder "
            f"of results that has it as {FILE}. Run the workflow to its end."
        )
    return file


def load(path: Path | str) -> TrainedModel:
    """Read the model that `save` wrote.

    Raises InputError where the file is missing, damaged or of another kind, and where it lies among results of which
    some were made anew since.
    """
    file = find(path)
    model = _from_file(file)
    _check_sources(file, model.sources)
    return model


def save(path: Path | str, model: TrainedModel) -> None:
    """Write a model as one file of tensors and plain values, which `load` reads on any machine.

    Parameters
    ----------
    path : Path or str
        The file.
    model : TrainedModel
        The model.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    weights = {
        "localiser": model.localiser.state_dict(),
        "members": {seed: member.state_dict() for seed, member in model.members.items()},
    }
    about = {name: getattr(model, name) for name in ABOUT}
    checkpoints.save(path, {"format": FORMAT, "about": about, "weights": weights})


def segment(image: Volume, model: TrainedModel, device: torch.device) -> Segmentation:
    """Segment a raw image as the workflow does in its single steps.

    If an image is stored another way round than the training images, it is turned in-plane first, and the result is
    turned back.

    Parameters
    ----------
    image : Volume, shape (z, y, x)
        The raw image.
    model : TrainedModel
        The model.
    device : torch.device
        Where the networks compute.

    Returns
    -------
    Segmentation
        The labels and what is known about them.

    Raises
    ------
    InputError
        The intensities cannot be normalised.
    """
    settings = model.settings
    turn = _turn(image, model.cohort["directions"])
    raw = turn.apply(image)
    resampled = volumes.as_stored(resampling.to_common_pixels(raw, settings["resampling"]))
    location, crop = localisation.crop_heart(
        resampled, model.localiser, settings["localisation"], settings["cropping"], device
    )
    crop = volumes.as_stored(crop)
    members = [
        views.predict(member, crop.array, device, settings["segmentation"]["views"])
        for member in model.members.values()
    ]
    mean = Volume(raw_labels.mean_probabilities(members), crop.affine)
    refinement = postprocessing.Settings.of(settings["postprocessing"], list(model.structures))
    labels = postprocessing.postprocess(mean, crop, raw, refinement, ["both"])["both"]
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


def _from_file(path: Path) -> TrainedModel:
    content = checkpoints.load(path)
    try:
        if content["format"] != FORMAT:
            raise KeyError(content["format"])
        about, weights = content["about"], content["weights"]
        localiser, members = _networks(about["settings"], 1 + len(about["structures"]), list(weights["members"]))
        localiser.load_state_dict(weights["localiser"])
        for seed, member in members.items():
            member.load_state_dict(weights["members"][seed])
        return TrainedModel(localiser=localiser, members=dict(members), **about)
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path}: is not a model of this version of cardioseg ({FORMAT!r}). Run the workflow again: it "
            "writes the model anew."
        ) from error


def _check_sources(file: Path, sources: Mapping[str, str]) -> None:
    """Raise InputError where a file that a model was made from has another content in the model's folder of results."""
    folder = file.absolute().parents[1]
    if file.absolute().relative_to(folder) != FILE:
        return
    # By their paths from the folder that holds the results, whatever these are called now.
    now = {name: folder.joinpath(*Path(name).parts[1:]) for name in sources}
    changed = [
        path
        for name, path in now.items()
        if len(Path(name).parts) > 1 and path.is_file() and checksums.sha256([path])[str(path)] != sources[name]
    ]
    if changed:
        raise InputError(
            f"{file}: was made from others than {', '.join(map(str, changed))}: these results were made anew in part. "
            "Run the workflow to its end, with the command that made them anew: it exports the model, too."
        )


def _networks(
    settings: Mapping[str, Any], classes: int, seeds: Sequence[int]
) -> tuple[nn.Module, dict[int, cascade.Cascade]]:
    """Make the localiser, and one cascade per seed, untrained, as the settings say."""
    of_cascade = settings["segmentation"]
    return localisation.network(settings["localisation"], classes), {
        seed: cascade.Cascade(cascade.first_network(of_cascade, classes), cascade.second_network(of_cascade, classes))
        for seed in seeds
    }
