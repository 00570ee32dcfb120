"""What a workflow makes, at the smallest size: networks that were never trained, and their model file."""

from pathlib import Path

import numpy as np
import torch
import yaml

from cardioseg.core import checkpoints, checksums, volumes
from cardioseg.model import trained_model, training_cohort
from cardioseg.phantoms import heart
from cardioseg.preprocessing import localisation
from cardioseg.segmentation import cascade

ROOT = Path(__file__).parents[2]
COHORT = """\
modality,patient,splits,slices,matrix,spacing_mm,labels,located,notes,image
bSSFP,anna,labelled translation_source,10,64x64,8.000 1.200 1.250,yes,yes,,a.nii.gz
bSSFP,bert,labelled,8,64x64,9.000 1.200 1.250,yes,yes,,b.nii.gz
LGE,bert,translation_target test,12,64x64,5.000 0.700 0.750,yes,yes,,c.nii.gz
LGE,dora,translation_target,16,64x64,6.000 0.800 0.750,no,yes,,d.nii.gz
"""
METRICS = """\
method,split,patient,structure,dice
ensemble_pp,test,carl,LV,0.9
ensemble_pp,test,erik,LV,0.8
ensemble_pp,validation,anna,LV,0.1
ensemble_pp,test,carl,RV,N/A
unet,test,carl,LV,0.2
"""


def configuration() -> dict:
    """The tiny workflow's configuration, but for scar and segments: their pictures take longer than the networks."""

    def overlaid(below: dict, above: dict) -> dict:
        merged = {
            key: overlaid(below[key], value) if isinstance(value, dict) and isinstance(below.get(key), dict) else value
            for key, value in above.items()
        }
        return below | merged

    tiny = yaml.safe_load((ROOT / "tests" / "workflow" / "config.yaml").read_text())
    return overlaid(yaml.safe_load((ROOT / "config.yaml").read_text()), tiny) | {"scar": None, "segments": None}


def small_patient(folder: Path) -> volumes.Volume:
    """The target image of a phantom patient, drawn small into a folder."""
    heart.write_patient(folder, 60, seed=1, matrix_scale=0.25)
    return volumes.read_image(heart.release_files(folder, 60)["LGE"])


def write_results(folder: Path, affine: np.ndarray, with_source: bool = False) -> Path:
    """Write a model file and its sources to a folder of results.

    `affine` is that of the training labels; `with_source` says whether the model takes source images.
    """
    settings = configuration()
    if with_source:
        settings["registration"] |= {"iterations": 5, "samples": 500}
        settings["fusion"] = {
            "labels": ["predicted"],
            "stage": "rigid",
            "weight": 0.6,
            "blur_mm": [0, 2, 2],
            "least_agreement": 0,
            "least_area": 0,
        }
    torch.manual_seed(0)
    checkpoints.save_weights(folder / "localisation" / "network.pt", localisation.network(settings["localisation"], 4))
    for seed in settings["ensemble"]:
        first = cascade.first_network(settings["segmentation"], 4)
        second = cascade.second_network(settings["segmentation"], 4)
        for path, network in zip(member_files(folder, seed), (first, second), strict=True):
            checkpoints.save_weights(path, network)
        if with_source:
            network = cascade.first_network(settings["segmentation"], 4)
            checkpoints.save_weights(source_file(folder, seed), network)
    for patient, size in (("anna", 10), ("bert", 20)):
        labels = np.zeros((4, 32, 32), np.uint8)
        for label in (1, 2, 3):
            labels[label, :size, :size] = label
        volumes.write(folder / "cropped" / "labels" / f"{patient}.nii.gz", labels, affine)
    for patient in ("bert", "dora"):
        volumes.write(folder / "cropped" / "LGE" / f"{patient}.nii.gz", np.zeros((4, 32, 32), np.float32), affine)
    for name, text in (
        ("cohort/cohort.csv", COHORT),
        ("metrics.csv", METRICS),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    model = trained_model.gather(
        settings,
        settings["cohort"]["structures"],
        trained_model.WeightFiles(
            folder / "localisation" / "network.pt",
            {seed: member_files(folder, seed) for seed in settings["ensemble"]},
            {seed: source_file(folder, seed) for seed in settings["ensemble"]} if with_source else {},
        ),
        summary(folder),
        {"code": "abc", "torch": "9.9"},
        {f"results/{path.relative_to(folder)}": content for path, content in sources(folder).items()},
    )
    trained_model.save(folder / trained_model.FILE, model)
    return folder


def sources(folder: Path) -> dict[Path, str]:
    """Checksums of what the model is made from."""
    made_from = [folder / "localisation" / "network.pt", folder / "cohort" / "cohort.csv", folder / "metrics.csv"]
    for seed in configuration()["ensemble"]:
        made_from += member_files(folder, seed)
    return {Path(path): content for path, content in checksums.sha256(made_from).items()}


def member_files(folder: Path, seed: int) -> tuple[Path, Path]:
    """The weights of a seed's cascade."""
    trained = folder / "segmentation" / f"seed{seed}"
    return trained / "unet_finetuned.pt", trained / "cascade_finetuned.pt"


def source_file(folder: Path, seed: int) -> Path:
    """The weights of a seed's network for source images."""
    return folder / "segmentation" / f"seed{seed}" / "unet_pretrained.pt"


def summary(folder: Path, self_training: dict | None = None) -> dict:
    """The summary of the training cohort."""
    labels = {patient: folder / "cropped" / "labels" / f"{patient}.nii.gz" for patient in ("anna", "bert")}
    targets = {patient: folder / "cropped" / "LGE" / f"{patient}.nii.gz" for patient in ("bert", "dora")}
    return training_cohort.summarise(
        folder / "cohort" / "cohort.csv",
        labels,
        targets,
        folder / "metrics.csv",
        "bSSFP",
        "LGE",
        ["LV", "MYO", "RV"],
        self_training,
    )
