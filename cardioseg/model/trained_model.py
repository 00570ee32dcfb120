"""The trained model: gathered from its networks, and kept in one file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cardioseg.core import checkpoints, checksums
from cardioseg.core.configuration import IMAGE_SECTIONS
from cardioseg.core.errors import InputError
from cardioseg.model import model_file
from cardioseg.preprocessing import localisation
from cardioseg.segmentation import cascade

FORMAT = "cardioseg ensemble 7"
# The model file in a folder of results.
FILE = Path("model", "ensemble.pt")
# A file that a user names may be any: nothing here writes it anew.
NOT_A_MODEL = "is no model file, or a damaged one. Name another, or copy it again."
# What is kept beside `IMAGE_SECTIONS` for source images of new patients.
OF_SOURCE = ("registration", "fusion", "seed")
# Contents of the file other than weights.
ABOUT = ("settings", "structures", "translation", "cohort", "versions", "sources", "licence")
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
        The configuration's `IMAGE_SECTIONS`, with source networks also of `OF_SOURCE`.
    structures : dict of str to int
        Codes in masks, in the order of the networks' classes.
    translation : dict
        The configuration's `translation`: how the synthetic images were made that the networks learned from.
    localiser : Module
        The network that finds the heart; has a `stride`.
    members : dict of int to Module
        By seed, the cascades, from slices to class scores.
    cohort : dict
        As from `training_cohort.summarise`.
    versions : dict of str to str
        Versions of what the workflow exported it with, by component.
    sources : dict of str to str
        SHA-256 of the files it was made from, by name.
    licence : str
        Who may use it for what.
    source_networks : dict of int to Module
        By seed, the networks that segment source images, from slices to class scores. Empty if the model takes none.
    """

    settings: dict[str, Any]
    structures: dict[str, int]
    translation: dict[str, Any]
    localiser: nn.Module
    members: dict[int, nn.Module]
    cohort: dict[str, Any]
    versions: dict[str, str]
    sources: dict[str, str]
    licence: str
    source_networks: dict[int, nn.Module] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightFiles:
    """Where the weights of a model's networks lie.

    Attributes
    ----------
    localiser : Path or str
        Those of the localiser.
    members : mapping of int to (Path or str, Path or str)
        By seed, those of the cascade's first and second network.
    source_networks : mapping of int to (Path or str)
        By seed, those of the network that segments source images; empty if the model has none.
    """

    localiser: Path | str
    members: Mapping[int, tuple[Path | str, Path | str]]
    source_networks: Mapping[int, Path | str]


def gather(
    settings: Mapping[str, Any],
    structures: Mapping[str, int],
    weights: WeightFiles,
    cohort: Mapping[str, Any],
    versions: Mapping[str, str],
    sources: Mapping[str, str],
) -> TrainedModel:
    """Build a model from the weights of its trained networks.

    Parameters
    ----------
    settings : mapping
        The configuration, or at least its `IMAGE_SECTIONS` and `translation`, with source networks also of
        `OF_SOURCE`.
    structures : mapping of str to int
        Codes in masks, in the order of the networks' classes.
    weights : WeightFiles
        The files of the weights.
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
        settings={name: settings[name] for name in (*IMAGE_SECTIONS, *(OF_SOURCE if weights.source_networks else ()))},
        structures=dict(structures),
        translation=dict(settings["translation"]),
        localiser=localisation.load(settings["localisation"], classes, weights.localiser),
        members={
            seed: cascade.load(settings["segmentation"], classes, first, second)
            for seed, (first, second) in weights.members.items()
        },
        cohort=dict(cohort),
        versions=dict(versions),
        sources=dict(sources),
        licence=LICENCE,
        source_networks={
            seed: cascade.load_first(settings["segmentation"], classes, path)
            for seed, path in weights.source_networks.items()
        },
    )


def find(path: Path | str) -> Path:
    """Return the model file that a path stands for.

    Parameters
    ----------
    path : Path or str
        The file, the folder that holds it, or a workflow's folder of results, which has it as `FILE`. The latter
        counts where a folder has both.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        There is no such file.
    """
    file = path = Path(path)
    if path.is_dir():
        alone = (path / FILE.name).is_file() and not (path / FILE).is_file()
        file = path / FILE.name if alone else path / FILE
    if not file.is_file():
        raise InputError(
            f"{file}: no such model; expected the file {FILE.name} that the workflow writes at its end, or the folder "
            f"of results that has it as {FILE}. Run the workflow to its end."
        )
    return file


def load(path: Path | str) -> TrainedModel:
    """Read the model that `save` wrote.

    Parameters
    ----------
    path : Path or str
        The file, or a folder of results that has it.

    Returns
    -------
    TrainedModel
        The model.

    Raises
    ------
    InputError
        The file is missing, damaged or of another kind, or lies among results of which some were made anew since.
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
    if model.source_networks:
        weights["source"] = {seed: network.state_dict() for seed, network in model.source_networks.items()}
    about = {name: getattr(model, name) for name in ABOUT}
    checkpoints.save(path, {"format": FORMAT, "about": about, "weights": weights})


def _from_file(path: Path) -> TrainedModel:
    content = checkpoints.load(path, NOT_A_MODEL)
    try:
        if content["format"] != FORMAT:
            raise KeyError(content["format"])
        about, weights = content["about"], content["weights"]
        model_file.check_about(about, (*IMAGE_SECTIONS, *(OF_SOURCE if weights.get("source") else ())))
        classes = 1 + len(about["structures"])
        # Without memory, of which a damaged file could ask for any amount.
        with torch.device("meta"):
            localiser, members = _networks(about["settings"], classes, list(weights["members"]))
            source_networks = {
                seed: cascade.first_network(about["settings"]["segmentation"], classes)
                for seed in weights.get("source", {})
            }
        model_file.fill(localiser, weights["localiser"])
        for seed, member in members.items():
            model_file.fill(member, weights["members"][seed])
        for seed, network in source_networks.items():
            model_file.fill(network, weights["source"][seed])
        kept = {name: about[name] for name in ABOUT}
        return TrainedModel(localiser=localiser, members=dict(members), source_networks=source_networks, **kept)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path}: is not a model of this version of cardioseg ({FORMAT!r}). Run the workflow again: it "
            "writes the model anew."
        ) from error


def _check_sources(file: Path, sources: Mapping[str, str]) -> None:
    """Raise InputError where a file that a model was made from has another content in the model's folder of results."""
    if file.absolute().parts[-2:] != FILE.parts:
        return
    folder = file.absolute().parents[1]
    # By their paths from the folder that holds the results, whatever these are called now.
    now = {name: folder.joinpath(*Path(name).parts[1:]) for name in sources}
    if not any(path.suffix == ".pt" and path.is_file() for path in now.values()):  # another folder of that name
        return
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
    if not seeds:
        raise ValueError("no members")
    return localisation.network(settings["localisation"], classes), {
        seed: cascade.Cascade(cascade.first_network(of_cascade, classes), cascade.second_network(of_cascade, classes))
        for seed in seeds
    }
