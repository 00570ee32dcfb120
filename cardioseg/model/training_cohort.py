"""What a trained ensemble has seen, and how well it did, from the results of its workflow; no names of patients."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cardioseg.cohort import orientation
from cardioseg.core import volumes
from cardioseg.evaluation import clinical

METHOD = "ensemble_pp"


def summarise(results: Path, settings: Mapping[str, Any], structures: Sequence[str]) -> dict[str, Any]:
    """Plain values that describe the cohort of a finished workflow; settings: the configuration's `cohort`.

    source, target: the modalities' names. patients: their number by split. seen: the number of test patients of whom
    labelled source images were trained on. slices, spacing_mm: least and most of the target's images (z, y, x).
    volumes_ml: least and most of each structure in the training labels. directions: of the labelled images (see
    `orientation.common`), None where they differ or are not known. dice: by structure its mean and standard deviation
    over the test patients with labels, and their number; empty without any.
    """
    table = pd.read_csv(results / "cohort" / "cohort.csv", dtype=str, keep_default_na=False)
    names = {role: settings[role]["name"] for role in ("source", "target")}
    splits = table["splits"].str.split()
    targets = table[(table["modality"] == names["target"]) & (table["splits"] != "")]
    spacings = [[float(mm) for mm in spacing.split()] for spacing in targets["spacing_mm"]]
    labelled = table[(table["modality"] == names["source"]) & splits.map(lambda own: "labelled" in own)]
    tested = set(targets.loc[splits[targets.index].map(lambda own: "test" in own), "patient"])
    labels = [volumes.read(results / "cropped" / "labels" / f"{patient}.nii.gz") for patient in labelled["patient"]]
    measured = pd.DataFrame([clinical.measure(volume.array, volume.spacing, structures, None) for volume in labels])
    unknown = labelled["notes"].str.contains(volumes.NO_GEOMETRY, regex=False).any()
    directions = None if unknown else orientation.common([volume.affine for volume in labels])
    return {
        **names,
        "patients": {name: int(count) for name, count in splits.explode().dropna().value_counts(sort=False).items()},
        "seen": len(tested & set(labelled["patient"])),
        "slices": [int(targets["slices"].astype(int).min()), int(targets["slices"].astype(int).max())],
        "spacing_mm": [np.min(spacings, axis=0).tolist(), np.max(spacings, axis=0).tolist()],
        "volumes_ml": {
            name: [float(measured[f"{name}_volume_ml"].min()), float(measured[f"{name}_volume_ml"].max())]
            for name in structures
        },
        "directions": None if directions is None else directions.tolist(),
        "dice": _dice(results / "metrics.csv"),
    }


def _dice(path: Path) -> dict[str, list[float]]:
    metrics = pd.read_csv(path)
    rows = metrics[(metrics["method"] == METHOD) & (metrics["split"] == "test")].dropna(subset=["dice"])
    return {
        str(name): [float(dice.mean()), float(dice.std()), len(dice)]
        for name, dice in rows.groupby("structure", sort=False)["dice"]
    }
