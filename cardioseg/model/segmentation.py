"""A raw image segmented by the trained model, alone or with a source image of the same patient."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from cardioseg.cohort import orientation
from cardioseg.core import volumes
from cardioseg.core.errors import InputError
from cardioseg.core.precision import products
from cardioseg.core.turns import AS_STORED
from cardioseg.core.volumes import Volume
from cardioseg.inference import fusion, postprocessing, prediction, raw_labels, uncertainty
from cardioseg.model.trained_model import TrainedModel
from cardioseg.preprocessing import localisation, resampling
from cardioseg.preprocessing.localisation import Location


@dataclass(frozen=True)
class Witness:
    """What a patient's own source image gave.

    Attributes
    ----------
    agreement : float
        Dice between the registered segmentation of the source image and the ensemble alone, in the slices that the
        former reaches, mean over the structures. NaN if there is no such segmentation.
    unused : str
        Why the source image is not used; empty if it is.
    """

    agreement: float
    unused: str = ""


@dataclass(frozen=True)
class Segmentation:
    """What a model finds in an image.

    Attributes
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        Labels on the grid of the image.
    entropy : ndarray of shape (z, y, x)
        Uncertainty on the grid of the image, see `uncertainty.maps`; 0 outside of the crop.
    members : ndarray of int, shape (members, z, y, x)
        Labels of each member alone, on the grid of the crop.
    location : Location
        Where the heart was found.
    orientation : Decision
        How the image was turned for inference, and what is in doubt about that.
    witness : Witness or None
        What the source image gave, if there was one.
    """

    labels: np.ndarray
    entropy: np.ndarray
    members: np.ndarray
    location: Location
    orientation: orientation.Decision
    witness: Witness | None


def segment(image: Volume, model: TrainedModel, device: torch.device, source: Volume | None = None) -> Segmentation:
    """Segment a raw image as the workflow does in its single steps.

    If an image is stored another way round than the training images, it is turned in-plane first, and the result is
    turned back. The segmentation of a source image is registered to the image and fused with the ensemble's
    probabilities; a source image that does not fit is ignored.

    Parameters
    ----------
    image : Volume of shape (z, y, x)
        The raw image.
    model : TrainedModel
        The model.
    device : torch.device
        Where the networks compute.
    source : Volume of shape (z, y, x), optional
        The raw source image of the same examination, for a model with source networks.

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
    decision, location, crop = _crop(image, model, device)
    members = _predict(model.members, crop, settings, device)
    mean = Volume(raw_labels.mean_probabilities(members), crop.affine)
    witness = None
    if source is not None:
        mean, witness = _with_source(mean, image, source, model, device)
    refinement = postprocessing.Settings.of(settings["postprocessing"], list(model.structures))
    beliefs = members if witness is None else [mean.array]
    entropy = Volume(uncertainty.predictive_entropy(beliefs)[np.newaxis], crop.affine)
    return Segmentation(
        labels=postprocessing.postprocess(mean, crop, image, refinement, ["both"])["both"],
        entropy=resampling.on_grid(entropy, image.array.shape, image.affine)[0],
        members=np.stack([member.argmax(axis=0) for member in members]),
        location=location,
        orientation=decision,
        witness=witness,
    )


def _crop(image: Volume, model: TrainedModel, device: torch.device) -> tuple[orientation.Decision, Location, Volume]:
    """How a raw image, of either modality, is turned, where its heart is, and its normalised crop."""
    settings = model.settings
    resampled = resampling.to_common_pixels(image, settings["resampling"])
    decision = _orient(image, resampled, model, device)
    if decision.turn != AS_STORED:
        resampled = resampling.to_common_pixels(decision.turn.apply(image), settings["resampling"])
    location, crop = localisation.crop_heart(
        volumes.as_stored(resampled), model.localiser, settings["localisation"], settings["cropping"], device
    )
    return decision, location, volumes.as_stored(crop)


def _predict(
    networks: Mapping[int, nn.Module], crop: Volume, settings: Mapping[str, Any], device: torch.device
) -> list[np.ndarray]:
    """Class probabilities (classes, z, y, x) of a crop by each network.

    A CPU's threads do more for several networks at a time than for the layers of one.
    """
    predict = partial(prediction.predict, image=crop, settings=settings["segmentation"], device=device)
    threads = torch.get_num_threads()
    at_a_time = min(threads, len(networks))
    if device.type != "cpu" or at_a_time == 1:
        return [predict(network) for network in networks.values()]
    torch.set_num_threads(threads // at_a_time)
    try:
        # Threads that set and restore torch's precision in turn would leave another one behind.
        with products("float32"), ThreadPoolExecutor(at_a_time) as pool:
            return list(pool.map(predict, networks.values()))
    finally:
        torch.set_num_threads(threads)


def _with_source(
    probabilities: Volume, raw: Volume, source: Volume, model: TrainedModel, device: torch.device
) -> tuple[Volume, Witness]:
    """Fuse an image's probabilities with its patient's source image; they stay as they are where it does not fit."""
    settings = model.settings
    try:
        if volumes.NO_GEOMETRY in (*raw.notes, *source.notes):
            raise InputError("without sform and qform in both headers it is not known where the images lie.")
        _, _, crop = _crop(source, model, device)
        members = _predict(model.source_networks, crop, settings, device)
        morphology = postprocessing.Morphology.of(settings["postprocessing"]["morphology"], list(model.structures))
        labels = fusion.predicted_labels(members, crop, source, morphology)
        carried = fusion.carry(
            raw, source, labels, settings["registration"], settings["fusion"]["stage"], settings["seed"]
        )
    except InputError as error:
        return probabilities, Witness(float("nan"), str(error))
    fused = fusion.fuse(probabilities, carried, settings["fusion"])
    disagrees = f"it disagrees (Dice {fused.agreement:.2f} with the ensemble alone): of this patient?"
    return Volume(fused.probabilities, probabilities.affine), Witness(fused.agreement, "" if fused.used else disagrees)


def _orient(image: Volume, resampled: Volume, model: TrainedModel, device: torch.device) -> orientation.Decision:
    usual = model.cohort["directions"]
    affine = None if volumes.NO_GEOMETRY in image.notes else image.affine
    header = AS_STORED if usual is None else orientation.by_header(affine, np.array(usual))
    likeness = partial(
        localisation.likeness,
        localiser=model.localiser,
        settings=model.settings["localisation"],
        device=device,
    )
    return orientation.decide(header, resampled, likeness)
