"""Time and memory against the number of patients.

    python benchmarks/scale.py             # about 40 minutes on two cores
    python benchmarks/scale.py planning    # or stages: only one of the two; the other's figures stay

The workflow's planning (`snakemake -n`, which reads and checks every volume the first time), and what is done to each
patient one after the other in one process: time and the process's memory. Phantom patients at half their matrix, the
demo's settings. Figures go to benchmarks/measurements/scale/HARDWARE.json.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import measure
import volume_steps
from cardioseg.core import volumes
from cardioseg.evaluation import metrics
from cardioseg.model import segmentation
from cardioseg.phantoms import heart
from cardioseg.translation import munit, munit_training

ROOT = Path(__file__).parents[1]
PATIENTS = (10, 100, 1000)


def main() -> None:
    """Measure the named parts, and keep the figures."""
    parts = {"planning": planning, "stages": stages}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    chosen = parser.parse_args().parts or list(parts)
    if not set(chosen) <= set(parts):
        parser.error(f"there are {', '.join(parts)}")
    about = measure.hardware("cpu")
    path = measure.FOLDER / "scale" / f"{measure.file_name(about['device'])}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    figures = {part: parts[part]() for part in chosen}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known | {"hardware": about} | figures, indent=1) + "\n")


def planning() -> list[dict[str, Any]]:
    return [plan(count) for count in PATIENTS]


def plan(count: int) -> dict[str, Any]:
    """Plan the workflow for a cohort of copies of one phantom patient, twice."""
    with tempfile.TemporaryDirectory() as folder:
        copies(Path(folder) / "data", count)
        everybody = [f"1-{count}"]
        splits = {"labelled": [f"1-{max(2, count // 3)}"], "translation_source": everybody}
        splits |= {"translation_target": everybody, "validation": [], "test": everybody}
        overlay = Path(folder) / "overlay.yaml"
        compute = {"jobs_per_step": volume_steps.configuration("paper")["compute"]["jobs_per_step"]}
        overlay.write_text(yaml.safe_dump({"data": "data", "cohort": {"splits": splits}, "compute": compute}))
        command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", folder, "--configfile", str(ROOT / "demo" / "config.yaml"), str(overlay)]
        times, processor = [], []
        for _ in range(2):
            began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            times.append(time.perf_counter() - began)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    jobs = re.search(r"^total\s+(\d+)", told, re.MULTILINE)
    row = {
        "patients": count,
        "jobs": int(jobs[1]) if jobs else None,
        "first call, all volumes read (s)": round(times[0], 1),
        "its CPU time (s)": round(processor[0], 1),
        "later calls (s)": round(times[1], 1),
        "their CPU time (s)": round(processor[1], 1),
        "peak memory so far (GiB)": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2),
    }
    print(row, flush=True)
    return row


def copies(folder: Path, count: int) -> None:
    """Write a phantom patient's files under `count` names, each file different in its gzip header's time alone."""
    heart.write_patient(folder / "drawn", 1, 1, matrix_scale=0.5)
    drawn = {path.name: path.read_bytes() for path in (folder / "drawn").rglob("*.nii.gz")}
    for patient in range(1, count + 1):
        for name, content in drawn.items():
            path = folder / "copies" / name.replace("patient1_", f"patient{patient}_")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content[:4] + patient.to_bytes(4, "little") + content[8:])
    for path in (folder / "drawn").rglob("*.nii.gz"):
        path.unlink()


def stages() -> list[dict[str, Any]]:
    """Synthesis, inference with preprocessing, and evaluation, patient after patient."""
    cpu = torch.device("cpu")
    config = volume_steps.configuration("demo")
    codes = config["cohort"]["structures"]
    model = volume_steps.untrained("demo")
    network = munit.Munit(config["translation"]["generator"], config["translation"]["discriminator"])
    styles = np.random.default_rng(0).standard_normal((5, network.source.style_size)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        heart.write_patient(Path(folder), 1, 1, matrix_scale=0.5)
        files = heart.release_files(Path(folder), 1)

        def segment() -> None:
            segmentation.segment(volumes.read_image(files["LGE"]), model, cpu)

        def synthesise() -> None:
            side = config["cropping"]["size"]
            crop = np.random.default_rng(0).uniform(-1, 1, (10, side, side)).astype(np.float32)
            munit_training.synthesise(network, crop, styles, cpu)

        def evaluate() -> None:
            image = volumes.read_image(files["LGE"])
            truth = volumes.read_labels(files["LGE_labels"], codes, image)
            for found in metrics.compare(np.roll(truth.array, 2, 1), truth.array, image.spacing, list(codes)):
                metrics.measure(found, image.spacing)

        named = {"preprocessing and inference": segment, "synthesis, 5 styles": synthesise, "evaluation": evaluate}
        return [repeated(name, work, count) for name, work in named.items() for count in PATIENTS]


def repeated(name: str, work: Callable[[], None], count: int) -> dict[str, Any]:
    """Do the work for so many patients; the process's resident memory after it."""
    began = time.perf_counter()
    for _ in range(count):
        work()
    seconds = time.perf_counter() - began
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    row = {
        "stage": name,
        "patients": count,
        "s": round(seconds, 1),
        "ms a patient": round(1000 * seconds / count),
        "resident memory after (GiB)": round(pages * os.sysconf("SC_PAGE_SIZE") / 2**30, 2),
    }
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
