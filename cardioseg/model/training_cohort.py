"""A summary of what the model was trained on, and of how well it did, without the names of patients."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cardioseg.cohort import orientation
from cardioseg.core import volumes
from cardioseg.evaluation import clinical, measures, methods


def summarise(
    table: Path | str,
    labels: Mapping[str, Path | str],
    targets: Mapping[str, Path | str],
    metrics: Path | str,
    source: str,
    target: str,
    structures: Sequence[str],
    self_training: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Describe a training cohort in plain values.

    Parameters
    ----------
    table : Path or str
        The table of the cohort's volumes.
    labels : mapping of str to Path or str
        Files of the cropped training labels, by patient.
    targets : mapping of str to Path or str
        Files of the target's cropped images, by patient.
    metrics : Path or str
        The table of the metrics.
    source, target : str
        Names of the modalities.
    structures : sequence of str
        Names of the structures.
    self_training : mapping or None
        The section `self_training` of the configuration.

    Returns
    -------
    dict
        - `source`, `target`: names of the modalities.
        - `patients`: their number by split.
        - `seen`: the number of test patients whose labelled source images were used in training.
        - `self_training`: None without it; else `fused`, as configured, and `tested`, the number of test patients whose
        target images were used in it.
        - `slices`, `spacing_mm`: least and greatest among the target's images, the spacing as (z, y, x).
        - `volumes_ml`: least and greatest of each structure in the training labels.
        - `directions`: directions of the labelled images and the target's (see `orientation.usual`), which the workflow
        has turned alike; None if no header tells them.
        - `dice`: by structure, mean and standard deviation over the test patients with labels, and the number of these.
    """
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    splits = rows["splits"].str.split()
    images = rows[(rows["modality"] == target) & (rows["splits"] != "")]
    spacings = [[float(mm) for mm in spacing.split()] for spacing in images["spacing_mm"]]
    labelled = rows[(rows["modality"] == source) & splits.map(lambda own: "labelled" in own)]
    tested = set(images.loc[splits[images.index].map(lambda own: "test" in own), "patient"])
    unlabelled = set(images.loc[splits[images.index].map(lambda own: "translation_target" in own), "patient"])
    masks = [volumes.read(labels[patient]) for patient in labelled["patient"]]
    measured = pd.DataFrame([clinical.measure(volume.array, volume.spacing, structures, None) for volume in masks])
    told = ~rows["notes"].str.contains(volumes.NO_GEOMETRY, regex=False)
    affines = [mask.affine for mask, known in zip(masks, told[labelled.index], strict=True) if known]
    affines += [volumes.read_grid(targets[patient]).affine for patient in images.loc[told[images.index], "patient"]]
    directions = orientation.usual(affines)
    return {
        "source": source,
        "target": target,
        "patients": {name: int(count) for name, count in splits.explode().dropna().value_counts(sort=False).items()},
        "seen": len(tested & set(labelled["patient"])),
        "self_training": self_training and {"fused": self_training["fused"], "tested": len(tested & unlabelled)},
        "slices": [int(images["slices"].astype(int).min()), int(images["slices"].astype(int).max())],
        "spacing_mm": [np.min(spacings, axis=0).tolist(), np.max(spacings, axis=0).tolist()],
        "volumes_ml": {
            name: [float(measured[f"{name}_volume_ml"].min()), float(measured[f"{name}_volume_ml"].max())]
            for name in structures
        },
        "directions": None if directions is None else directions.tolist(),
        "dice": _dice(metrics),
    }


def _dice(path: Path | str) -> dict[str, list[float]]:
    table = measures.read(path)
    rows = table[(table["method"] == methods.final().name) & (table["split"] == "test")].dropna(subset=["dice"])
    return {
        str(name): [float(dice.mean()), float(dice.std()), len(dice)]
        for name, dice in rows.groupby("structure", sort=False)["dice"]
    }
