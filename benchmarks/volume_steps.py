"""The costly steps on whole volumes, shipped and as published, each ready to be called again and again."""

import atexit
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from copy import deepcopy
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from medpy.metric import binary as medpy
from scipy import ndimage
from torch import nn

import published
from cardioseg.cohort import orientation
from cardioseg.core import training_loop, volumes
from cardioseg.core.configuration import IMAGE_SECTIONS
from cardioseg.evaluation import metrics
from cardioseg.inference import postprocessing
from cardioseg.model import batch, segmentation, trained_model
from cardioseg.phantoms import heart
from cardioseg.preprocessing import cropping, localisation, resampling
from cardioseg.segmentation import cascade, training, unet
from steps import Step, configuration

CPU = torch.device("cpu")


def inference(size: str, _: str, device: torch.device) -> Step:
    """A raw phantom LGE volume to its mask, four members, with CRF and morphology, as `cardioseg segment` does it.

    In the reference the networks are plain and predict slice by slice, one after the other; all else is the same.
    """
    model = untrained(size, device)
    reference = deepcopy(model)
    for network in (reference.localiser, *reference.members.values()):
        published.plain(network)
    volume = _raw_volume()

    def eager() -> None:
        predict = published.predict
        with mock.patch.object(unet, "predict", predict), mock.patch.object(localisation, "predict", predict):
            segmentation.segment(volume, reference, device)

    return Step(lambda: segmentation.segment(volume, model, device), eager, 1, "volume", elsewhere=device.type == "cpu")


def segmented_file(size: str, _: str, device: torch.device) -> Step:
    """A raw LGE volume in a file to what `cardioseg segment` writes of it, by a process that has begun before."""
    model, folder = untrained(size), _folder_of_volumes(1)
    named = {path.name: path for path in folder.glob("*.nii.gz")}

    def shipped() -> None:
        with _new_folder(folder) as out, redirect_stdout(StringIO()):
            batch.segment(named, model, device, out, {"model": "", "model_sha256": ""})

    return Step(shipped, None, 1, "volume", elsewhere=True)


def command_on_one(size: str, _: str, device: torch.device) -> Step:
    """`cardioseg segment` on one raw LGE volume, from its start to its end."""
    return _command(size, 1)


def command_on_ten(size: str, _: str, device: torch.device) -> Step:
    """`cardioseg segment` on ten raw LGE volumes, from its start to its end."""
    return _command(size, 10)


def _command(size: str, count: int) -> Step:
    folder = _folder_of_volumes(count)
    trained_model.save(folder / "ensemble.pt", untrained(size))

    def shipped() -> None:
        with _new_folder(folder) as out:
            _start(folder, out).wait()

    return Step(shipped, None, count, "volume", elsewhere=True)


def start_to_first_mask(size: str, _: str, device: torch.device) -> Step:
    """`cardioseg segment` from its start until the first mask is there."""
    folder = _folder_of_volumes(2)
    trained_model.save(folder / "ensemble.pt", untrained(size))

    def shipped() -> None:
        with _new_folder(folder) as out:
            process = _start(folder, out)
            while process.poll() is None and not list(out.glob("masks/*.nii.gz")):
                time.sleep(0.02)
            process.kill()
            process.wait()

    return Step(shipped, None, 1, "volume", elsewhere=True)


def _start(folder: Path, out: Path) -> subprocess.Popen:
    images = sorted(folder.glob("*.nii.gz"))
    command = [sys.executable, "-c", "import sys; from cardioseg.command import main; sys.exit(main())", "segment"]
    options = ["--model", folder / "ensemble.pt", "--out", out, "--device", "cpu"]
    return subprocess.Popen([*command, *options, *images], stdout=subprocess.DEVNULL)


def _folder_of_volumes(count: int) -> Path:
    """Phantom LGE volumes in files of a folder that is there as long as this process."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    for index in range(count):
        volumes.write(Path(folder.name) / f"{index}.nii.gz", _raw_volume().array, _raw_volume().affine)
    return Path(folder.name)


@contextmanager
def _new_folder(parent: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=parent))
    yield folder
    shutil.rmtree(folder)


def untrained(size: str, device: torch.device = CPU) -> trained_model.TrainedModel:
    """An ensemble of four as it is before training, with a localiser that knows the phantom."""
    config = configuration(size)
    settings = {name: config[name] for name in IMAGE_SECTIONS}
    structures = config["cohort"]["structures"]
    torch.manual_seed(0)
    members = {
        seed: cascade.Cascade(
            cascade.first_network(settings["segmentation"], 1 + len(structures)),
            cascade.second_network(settings["segmentation"], 1 + len(structures)),
        )
        for seed in range(1, 5)
    }
    return trained_model.TrainedModel(
        settings=settings,
        structures=structures,
        translation=config["translation"],
        localiser=_localiser(settings, 1 + len(structures), device),
        members=members,
        cohort={"directions": None, "volumes_ml": {name: [0.0, 1e9] for name in structures}},
        versions={},
        sources={},
        licence="",
    )


def _localiser(settings: Mapping[str, Any], classes: int, device: torch.device) -> nn.Module:
    """A localiser trained until it takes the phantom for a heart, since all turns of other images are looked at."""
    localiser = localisation.network(settings["localisation"], classes)
    resampled = resampling.to_common_pixels(_raw_volume(), settings["resampling"])
    labels = volumes.Volume(_labels(), _raw_volume().affine)
    slices, truth = localisation.training_slices(
        [resampled], [labels], settings["localisation"], classes, localiser.stride
    )
    still = dict.fromkeys(settings["localisation"]["augmentation"], 0.0) | {"elastic_spacing_pixels": 8}
    changes = {"epochs": 80, "batch_size": 4, "learning_rate": 0.01, "augmentation": still}
    changes |= {"appearance": None, "contraction": None}
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        run = training_loop.Run("localisation", 0, device, Path(folder), identity="", cuda_graphs=False)
        training.fit(localiser, slices, truth, settings["localisation"] | changes, run)
    likeness = localisation.likeness(resampled, localiser, settings["localisation"], device)
    assert 1 - likeness <= orientation.MARGIN, f"the localiser is not sure of the phantom: {likeness:.2f}"
    return localiser


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
        for found in metrics.compare(prediction, truth, spacing, list(codes)):
            metrics.measure(found, spacing)

    def whole_volumes() -> None:
        for label in range(1, 1 + len(codes)):
            masks = prediction == label, truth == label
            medpy.dc(*masks)
            medpy.assd(*masks, voxelspacing=spacing)
            medpy.hd95(*masks, voxelspacing=spacing)
            medpy.asd(*masks, voxelspacing=spacing)
            medpy.asd(*masks[::-1], voxelspacing=spacing)

    return Step(shipped, whole_volumes, 1, "volume")
