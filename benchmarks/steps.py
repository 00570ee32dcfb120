"""The costly steps, shipped and as published, each ready to be called again and again.

Sizes are those of `config.yaml` ("paper") or of it under `demo/config.yaml` ("demo"); images are random, since no
step's time depends on what they show.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
import yaml
from medpy.metric import binary as medpy
from scipy import ndimage

import published
from cardioseg.core import precision, training_loop, volumes
from cardioseg.core.configuration import IMAGE_SECTIONS
from cardioseg.evaluation import metrics
from cardioseg.inference import postprocessing
from cardioseg.model import trained_model
from cardioseg.phantoms import heart
from cardioseg.preprocessing import cropping, localisation, resampling
from cardioseg.segmentation import cascade
from cardioseg.segmentation import training as segmentation_training
from cardioseg.translation import munit, munit_training

ROOT = Path(__file__).parents[1]
# Steps of an epoch: many where they are short, so that its start, its reports and the few batches that the reference's
# loader has ready beforehand count little.
BATCHES = {("cpu", "paper"): 4, ("cpu", "demo"): 64, ("cuda", "paper"): 256, ("cuda", "demo"): 256}


class Step(NamedTuple):
    """Calls that do the same work, and how much that is."""

    shipped: Callable[[], Any]
    reference: Callable[[], Any] | None
    amount: float
    unit: str
    # Whether the shipped call works in processes of its own, where its operations and memory are not seen.
    elsewhere: bool = False


def configuration(size: str) -> dict[str, Any]:
    """config.yaml, merged with the demo's overlay where that is asked for."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    if size == "demo":
        _merge(config, yaml.safe_load((ROOT / "demo" / "config.yaml").read_text()))
    return config


def _merge(base: dict[str, Any], overlay: Mapping[str, Any]) -> None:
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


def translation_iteration(size: str, exactness: str, device: torch.device) -> Step:
    """One iteration of MUNIT's training, all losses; the reference is float32. exactness: see `core.precision`."""
    config = configuration(size)
    settings, side = config["translation"], config["cropping"]["size"]
    torch.manual_seed(0)
    network = munit.Munit(settings["generator"], settings["discriminator"]).to(device)
    reference = published.Munit(network, settings)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimisers = munit.make_optimisers(network, settings)
    images = [2 * torch.rand(settings["batch_size"], 1, side, side, device=device) - 1 for _ in range(2)]
    styles = [torch.randn(settings["batch_size"], network.source.style_size, device=device) for _ in range(4)]
    updates = (munit.Styles(*styles[:2]), munit.Styles(*styles[2:]))

    def shipped() -> None:
        with precision.products(exactness):
            munit.step(network, optimisers, images[0], images[1], updates, settings["weights"], exactness)

    def eager() -> None:
        reference.step((images[0], images[1]), updates, settings["weights"])

    return Step(shipped, eager, 1, "iteration")


def segmentation_steps(size: str, exactness: str, device: torch.device) -> Step:
    """Steps of a U-Net's training, augmentation included; the reference has a loader worker for each core.

    Weights are not averaged, whatever the configuration says: the reference does not do it.
    """
    settings, images, labels = _labelled_slices(size, exactness, device)
    training = published.UnetTraining(
        cascade.first_network(settings, len(settings["class_weights"])),
        images,
        labels,
        settings,
        settings["pretraining"]["learning_rate"],
        device,
        workers=len(os.sched_getaffinity(0)),
    )

    def eager() -> None:
        for _ in range(len(images) // settings["batch_size"]):
            training.step()

    return Step(_epoch(size, exactness, device), eager, len(images), "slice")


def _labelled_slices(size: str, exactness: str, device: torch.device) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """The settings of a segmentation's training, and images and labels (n, y, x)."""
    config = configuration(size)
    settings, side = config["segmentation"] | {"precision": exactness, "averaging": 0}, config["cropping"]["size"]
    draws = np.random.default_rng(0)
    count = BATCHES[device.type, size] * settings["batch_size"]
    images = draws.uniform(-1, 1, (count, side, side)).astype(np.float32)
    return settings, images, draws.integers(0, len(settings["class_weights"]), images.shape, dtype=np.uint8)


def _epoch(size: str, exactness: str, device: torch.device) -> Callable[[], None]:
    """One epoch of a U-Net's training as shipped."""
    settings, images, labels = _labelled_slices(size, exactness, device)
    torch.manual_seed(0)
    network = cascade.first_network(settings, len(settings["class_weights"]))

    def shipped() -> None:
        with tempfile.TemporaryDirectory() as folder:
            segmentation_training.fit(
                network,
                images,
                labels,
                settings | {"epochs": 1, "learning_rate": settings["pretraining"]["learning_rate"]},
                training_loop.Run("benchmark", 0, device, Path(folder), ""),
            )

    return shipped


def members_side_by_side(size: str, exactness: str, device: torch.device) -> Step:
    """Two members' U-Nets, each as `segmentation_steps`, as the workflow trains them on two cores of a CPU.

    Shipped: both at once, a process and a thread each (`compute.threads` in demo/config.yaml). Reference: one after the
    other, each with all threads and loader workers.
    """
    context = multiprocessing.get_context("spawn")
    members = []
    for _ in range(2):
        here, there = context.Pipe()
        context.Process(target=_train_when_told, args=(there, size, exactness), daemon=True).start()
        members.append(here)

    def shipped() -> None:
        for member in members:
            member.send("train")
        for member in members:
            member.recv()

    single = segmentation_steps(size, exactness, device)
    assert single.reference is not None
    reference = single.reference

    def one_after_the_other() -> None:
        for _ in members:
            reference()

    return Step(shipped, one_after_the_other, 2 * single.amount, single.unit, elsewhere=True)


def _train_when_told(told: Connection, size: str, exactness: str) -> None:
    torch.set_num_threads(1)
    train = _epoch(size, exactness, torch.device("cpu"))
    with suppress(EOFError):  # the end of who tells
        while told.recv():
            train()
            told.send("trained")


def synthesis(size: str, _: str, device: torch.device) -> Step:
    """One volume of ten slices rendered in five styles; the reference encodes and decodes slice by slice."""
    config = configuration(size)
    settings, side = config["translation"], config["cropping"]["size"]
    torch.manual_seed(0)
    network = munit.Munit(settings["generator"], settings["discriminator"]).to(device)
    source, target = published.parameters(network.source), published.parameters(network.target)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    volume = np.random.default_rng(0).uniform(-1, 1, (10, side, side)).astype(np.float32)
    samples = config["synthesis"]["samples"]
    styles = np.random.default_rng(1).standard_normal((samples, network.source.style_size)).astype(np.float32)

    def shipped() -> None:
        munit_training.synthesise(network, volume, styles, device)

    @torch.no_grad()
    def eager() -> None:
        for style in styles:
            for image in volume:
                content = published.encode_content(source, torch.from_numpy(image)[None, None].to(device))
                published.decode(target, content, torch.from_numpy(style)[None].to(device)).cpu()

    return Step(shipped, eager, samples, "volume")


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
