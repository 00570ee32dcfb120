"""The networks' costly steps, shipped and as published, each ready to be called again and again.

Sizes are those of `config.yaml` ("paper") or of it under overlays of demo/ ("demo", "recipe", "gpu_recipe"); images are
random, since no step's time depends on what they show.
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
from torch import Tensor

import published
from cardioseg.core import precision, training_loop, winograd
from cardioseg.core.cuda_graphs import STEPS_BEFORE_CAPTURE, RepeatedStep
from cardioseg.segmentation import appearance, augmentation, cascade
from cardioseg.segmentation import training as segmentation_training
from cardioseg.translation import munit, munit_training

ROOT = Path(__file__).parents[1]
# Steps of an epoch: many where they are short, so that its start, its reports and the few batches that the reference's
# loader has ready beforehand count little.
BATCHES = {("cpu", "paper"): 4, ("cpu", "recipe"): 8, ("cuda", "paper"): 16, ("cuda", "gpu_recipe"): 16}
OVERLAYS = {
    "paper": [],
    "demo": ["config.yaml"],
    "recipe": ["mscmrseg.yaml"],
    "gpu_recipe": ["mscmrseg.yaml", "mscmrseg_gpu.yaml"],
}


class Step(NamedTuple):
    """Calls that do the same work, and how much that is."""

    shipped: Callable[[], Any]
    reference: Callable[[], Any] | None
    amount: float
    unit: str
    # Whether the shipped call works in processes or threads of its own, where its operations and memory are not seen.
    elsewhere: bool = False
    # How often the shipped call must be made before it is as fast as it will be.
    calls_before: int = 0
    # The shipped call without the CUDA graph that repeats a part of it, whose operations are not seen.
    without_graph: Callable[[], Any] | None = None


def configuration(size: str) -> dict[str, Any]:
    """config.yaml, merged with the overlays of a size."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    for name in OVERLAYS[size]:
        _merge(config, yaml.safe_load((ROOT / "demo" / name).read_text()))
    return config


def _merge(base: dict[str, Any], overlay: Mapping[str, Any]) -> None:
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


def translation_iteration(size: str, exactness: str, device: torch.device, cuda_graphs: bool = True) -> Step:
    """One iteration of MUNIT's training, all losses; the reference is float32. exactness: see `core.precision`."""
    config = configuration(size)
    settings, side = config["translation"], config["cropping"]["size"]
    torch.manual_seed(0)
    network = munit.Munit(settings["generator"], settings["discriminator"]).to(device)
    reference = published.Munit(network, settings)
    network.to(memory_format=munit_training.layout(device))  # type: ignore[call-overload]
    optimisers = munit.make_optimisers(network, settings)
    images = [2 * torch.rand(settings["batch_size"], 1, side, side, device=device) - 1 for _ in range(2)]
    styles = [torch.randn(settings["batch_size"], network.source.style_size, device=device) for _ in range(4)]

    def iteration(source: Tensor, target: Tensor, *styles: Tensor) -> dict[str, Tensor]:
        updates = (munit.Styles(*styles[:2]), munit.Styles(*styles[2:]))
        return munit.step(network, optimisers, source, target, updates, settings["weights"], exactness)

    repeated = RepeatedStep(iteration, optimisers, device, cuda_graphs)

    def shipped() -> None:
        with precision.products(exactness):
            repeated(settings["learning_rate"], *images, *styles)

    def eager() -> None:
        reference.step((images[0], images[1]), (tuple(styles[:2]), tuple(styles[2:])), settings["weights"])

    before = STEPS_BEFORE_CAPTURE + 1 if device.type == "cuda" else 0
    return Step(shipped, eager, 1, "iteration", calls_before=before)


def translation_iteration_without_graph(size: str, exactness: str, device: torch.device) -> Step:
    """`translation_iteration` as a GPU makes it where no CUDA graph is wanted."""
    return translation_iteration(size, exactness, device, cuda_graphs=False)


def segmentation_steps(size: str, exactness: str, device: torch.device) -> Step:
    """Steps of a U-Net's training, all augmentation included; the reference has a loader worker for each core.

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

    without = _epoch(size, exactness, device, cuda_graphs=False) if device.type == "cuda" else None
    return Step(_epoch(size, exactness, device), eager, len(images), "slice", without_graph=without)


def _labelled_slices(size: str, exactness: str, device: torch.device) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """The settings of a segmentation's training, and images and labels (n, y, x)."""
    config = configuration(size)
    settings, side = config["segmentation"] | {"precision": exactness, "averaging": 0}, config["cropping"]["size"]
    if settings["appearance"]:
        from cardioseg.core import configuration as names  # which needs packages that the other steps do without

        settings |= {"appearance": names.appearance(config, "segmentation"), "contraction": names.contraction(config)}
    draws = np.random.default_rng(0)
    count = BATCHES.get((device.type, size), 64) * settings["batch_size"]
    images = draws.uniform(-1, 1, (count, side, side)).astype(np.float32)
    return settings, images, np.broadcast_to(_discs(side), images.shape).copy()


def _discs(side: int) -> np.ndarray:
    """A cavity in its wall, with another cavity beside it: labels (y, x)."""
    y, x = np.indices((side, side)) / side - 0.5
    labels = np.zeros((side, side), np.uint8)
    labels[np.hypot(y, x + 0.25) < 0.12] = 3
    labels[np.hypot(y, x) < 0.18] = 2
    labels[np.hypot(y, x) < 0.12] = 1
    return labels


def _epoch(size: str, exactness: str, device: torch.device, cuda_graphs: bool = True) -> Callable[[], None]:
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
                training_loop.Run("benchmark", 0, device, Path(folder), "", cuda_graphs),
            )

    return shipped


def augmentation_alone(size: str, exactness: str, device: torch.device) -> Step:
    """What a U-Net's training does to its batches before a network sees them; the reference takes slice by slice."""
    settings, images, labels = _labelled_slices(size, exactness, device)
    count = settings["batch_size"]
    batch, truth = torch.from_numpy(images[:count])[:, None].to(device), torch.from_numpy(labels[:count]).to(device)
    generator = torch.Generator().manual_seed(0)
    slices = iter(published.Slices(images, labels, settings))

    def shipped() -> None:
        changed, moved = augmentation.augment(
            batch, truth, settings["augmentation"], generator, settings["contraction"]
        )
        if settings["appearance"]:
            appearance.randomise(changed, moved, settings["appearance"], generator)

    def one_by_one() -> None:
        for _ in range(count):
            next(slices)

    return Step(shipped, one_by_one, count, "slice")


def winograd_in_translation(size: str, exactness: str, device: torch.device) -> Step:
    """An iteration of MUNIT's training; the reference is the shipped code without minimal filtering."""
    return _without_winograd(translation_iteration(size, exactness, device))


def winograd_in_segmentation(size: str, exactness: str, device: torch.device) -> Step:
    """Steps of a U-Net's training; the reference is the shipped code without minimal filtering."""
    _, images, _ = _labelled_slices(size, exactness, device)
    return _without_winograd(Step(_epoch(size, exactness, device), None, len(images), "slice"))


def _without_winograd(step: Step) -> Step:
    def without() -> None:
        with mock.patch.object(winograd, "is_faster", lambda features, weight: False):
            step.shipped()

    return step._replace(reference=without)


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
