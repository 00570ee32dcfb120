"""The costly steps on whole volumes, shipped and as published, each ready to be called again and again."""

from unittest import mock

import numpy as np
import torch
from medpy.metric import binary as medpy
from scipy import ndimage

import published
from cardioseg.core import volumes
from cardioseg.core.configuration import IMAGE_SECTIONS
from cardioseg.evaluation import metrics
from cardioseg.inference import postprocessing
from cardioseg.model import trained_model
from cardioseg.phantoms import heart
from cardioseg.preprocessing import cropping, localisation, resampling
from cardioseg.segmentation import cascade
from steps import Step, configuration


def inference(size: str, _: str, device: torch.device) -> Step:
    """A raw phantom LGE volume to its mask, four members, with CRF and morphology, as `cardioseg segment` does it.

    In the reference the networks are plain and predict slice by slice; all else is the same.
    """
    model, reference = untrained(size), untrained(size)
    for network in (reference.localiser, *reference.members.values()):
        published.plain(network)
    volume = _raw_volume()

    def eager() -> None:
        predict = published.predict
        with mock.patch.object(trained_model, "predict", predict), mock.patch.object(localisation, "predict", predict):
            trained_model.segment(volume, reference, device)

    return Step(lambda: trained_model.segment(volume, model, device), eager, 1, "volume")


def untrained(size: str) -> trained_model.TrainedModel:
    """An ensemble of four as it is before training."""
    config = configuration(size)
    settings = {name: config[name] for name in IMAGE_SECTIONS}
    structures = config["cohort"]["structures"]
    torch.manual_seed(0)
    return trained_model.TrainedModel(
        settings=settings,
        structures=structures,
        translation=config["translation"],
        localiser=localisation.network(settings["localisation"], 1 + len(structures)),
        members={
            seed: cascade.Cascade(
                cascade.first_network(settings["segmentation"], 1 + len(structures)),
                cascade.second_network(settings["segmentation"], 1 + len(structures)),
            )
            for seed in range(1, 5)
        },
        cohort={"directions": None},
        versions={},
        sources={},
        licence="",
    )


def postprocessing_of_a_volume(_size: str, _precision: str, device: torch.device) -> Step:
    """CRF and morphology of the phantom's LGE labels, blurred to probabilities, at the paper's resolution."""
    config = configuration("paper")
    structures = list(config["cohort"]["structures"])
    settings = postprocessing.Settings.of(config["postprocessing"], structures)
    raw, labels = _raw_volume(), _labels()
    resampled = resampling.resample(raw, config["resampling"]["spacing_mm"])
    centre = (resampled.array.shape[1] / 2, resampled.array.shape[2] / 2)
    crop = cropping.crop_and_normalise(resampled, centre, config["cropping"])
    grid = resampling.one_hot(
        resampling.labels_on_grid(volumes.Volume(labels, raw.affine), crop, 1 + len(structures)), 1 + len(structures)
    )
    blurred = ndimage.gaussian_filter(grid, (0, 0, 1.5, 1.5))
    probabilities = blurred / blurred.sum(axis=0)

    def shipped() -> None:
        postprocessing.postprocess(volumes.Volume(probabilities, crop.affine), crop, raw, settings, ["both"])

    return Step(shipped, None, 1, "volume")


def _raw_volume() -> volumes.Volume:
    drawn = heart.draw_patient(1, 1)["LGE"]
    return volumes.Volume(drawn.image.astype(np.float32), drawn.affine)


def _labels() -> np.ndarray:
    """The phantom's LGE labels: 1, 2, ... in the order of the structures."""
    drawn = heart.draw_patient(1, 1)["LGE"].labels
    codes = configuration("demo")["cohort"]["structures"].values()
    return sum((label * (drawn == code) for label, code in enumerate(codes, 1)), np.uint8(0)).astype(np.uint8)


def evaluation(_size: str, _precision: str, device: torch.device) -> Step:
    """Dice and surface distances of phantom LGE labels against these moved a little; the reference is medpy."""
    codes = configuration("demo")["cohort"]["structures"]
    truth = _labels()
    prediction = np.roll(truth, (2, 3), (1, 2))
    spacing = (5.0, 0.75, 0.75)

    def shipped() -> None:
        metrics.evaluate(prediction, truth, spacing, list(codes))

    def whole_volumes() -> None:
        for label in range(1, 1 + len(codes)):
            masks = prediction == label, truth == label
            medpy.dc(*masks)
            medpy.assd(*masks, voxelspacing=spacing)
            medpy.hd95(*masks, voxelspacing=spacing)
            medpy.asd(*masks, voxelspacing=spacing)
            medpy.asd(*masks[::-1], voxelspacing=spacing)

    return Step(shipped, whole_volumes, 1, "volume")
