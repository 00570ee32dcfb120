"""Measure the costly steps: shipped code beside the published way, and both beside the device's own ceiling.

    python benchmarks/measure.py                 # every step; about 35 minutes on two cores
    python benchmarks/measure.py NAME ...        # some of them
    python benchmarks/measure.py --device cuda   # on the GPU

Each step runs in a process of its own: after a warm-up, in turn a large matrix product, the shipped code and the
reference. Figures go to benchmarks/measurements/HARDWARE.json; `python benchmarks/results.py` makes the page of them.
"""

import argparse
import importlib.metadata
import json
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import steps
from cardioseg.core import precision

FOLDER = Path(__file__).parent / "measurements"
# Name, what makes it, size, precision (see `cardioseg.core.precision`), repeats.
STEPS: dict[str, tuple[Callable[[str, str, torch.device], steps.Step], str, str, int]] = {
    "MUNIT iteration, paper": (steps.translation_iteration, "paper", "float32", 3),
    "MUNIT iteration, paper, TF32": (steps.translation_iteration, "paper", "tf32", 3),
    "MUNIT iteration, paper, bfloat16": (steps.translation_iteration, "paper", "bfloat16", 3),
    "MUNIT iteration, demo": (steps.translation_iteration, "demo", "float32", 15),
    "U-Net training, paper": (steps.segmentation_steps, "paper", "float32", 2),
    "U-Net training, paper, TF32": (steps.segmentation_steps, "paper", "tf32", 2),
    "U-Net training, paper, bfloat16": (steps.segmentation_steps, "paper", "bfloat16", 2),
    "U-Net training, demo": (steps.segmentation_steps, "demo", "float32", 15),
    "U-Net training, two members, demo": (steps.members_side_by_side, "demo", "float32", 15),
    "synthesis, paper": (steps.synthesis, "paper", "float32", 3),
    "synthesis, demo": (steps.synthesis, "demo", "float32", 15),
    "inference, paper": (steps.inference, "paper", "float32", 2),
    "inference, demo": (steps.inference, "demo", "float32", 7),
    "CRF and morphology": (steps.postprocessing_of_a_volume, "paper", "float32", 7),
    "evaluation": (steps.evaluation, "demo", "float32", 15),
}
PRODUCT = {"cpu": 3072, "cuda": 16384}
SHORTEST_S = 0.5


def main() -> None:
    """Measure the named steps, each in its own process, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(STEPS))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(STEPS)
    if unknown:
        parser.error(f"no step is called {', '.join(unknown)}; there are {', '.join(STEPS)}")
    if arguments.alone:
        json.dump(measure(arguments.names[0], torch.device(arguments.device)), sys.stdout)
        return
    about = hardware(arguments.device)
    path = FOLDER / (re.sub(r"[^a-z0-9]+", "-", about["device"].lower()).strip("-") + ".json")
    for name in arguments.names or steps_on(arguments.device):
        call = [sys.executable, __file__, "--alone", "--device", arguments.device, name]
        figures = json.loads(subprocess.run(call, check=True, stdout=subprocess.PIPE).stdout)
        known = json.loads(path.read_text())["steps"] if path.exists() else {}
        FOLDER.mkdir(exist_ok=True)
        path.write_text(json.dumps({"hardware": about, "steps": known | {name: figures}}, indent=1) + "\n")
        print(f"{name}: {min(figures['shipped_s']):.3g} s", flush=True)


def steps_on(device: str) -> list[str]:
    """The steps that are of interest on a device: a GPU trains one network at a time, a CPU gains by float32 alone."""
    if device == "cuda":
        return [name for name, (make, _, _, _) in STEPS.items() if make is not steps.members_side_by_side]
    return [name for name, (_, _, exactness, _) in STEPS.items() if exactness == "float32"]


def measure(name: str, device: torch.device) -> dict[str, Any]:
    """Alternate between ceiling, shipped and reference; times in s per call, work in floating-point operations."""
    make, size, exactness, repeats = STEPS[name]
    step = make(size, exactness, device)
    operations, calls = {}, {}
    operations["shipped"], calls["shipped"] = warm_up(step.shipped, device)
    peak = None if step.elsewhere else peak_memory(device)  # before the others take theirs
    pieces = {"product": large_product(exactness, device), "shipped": step.shipped}
    if step.reference:
        pieces["reference"] = in_float32(step.reference)
    for piece, call in pieces.items():
        if piece != "shipped":
            operations[piece], calls[piece] = warm_up(call, device)
    times: dict[str, list[float]] = {piece: [] for piece in pieces}
    for _ in range(repeats):
        for piece, call in pieces.items():
            times[piece].append(timed(call, calls[piece], device))
    return {
        "amount": step.amount,
        "unit": step.unit,
        **{f"{piece}_s": values for piece, values in times.items()},
        **{f"{piece}_operations": count for piece, count in operations.items()},
        "peak_memory_bytes": peak,
    }


def large_product(exactness: str, device: torch.device) -> Callable[[], None]:
    """What shows the ceiling: a product of two square matrices."""
    side, kind = PRODUCT[device.type], torch.bfloat16 if exactness == "bfloat16" else torch.float32
    factors = [torch.randn(side, side, device=device, dtype=kind) for _ in range(2)]

    def product() -> None:
        with precision.products(exactness):
            torch.matmul(*factors)

    return product


def in_float32(call: Callable[[], Any]) -> Callable[[], None]:
    """A call in which a GPU does not round to TF32, which torch's convolutions otherwise do."""

    def exactly() -> None:
        with precision.products("float32"):
            call()

    return exactly


def warm_up(call: Callable[[], Any], device: torch.device) -> tuple[int, int]:
    """A call's operations, and how often to repeat it so that it takes long enough to be timed."""
    operations = count_operations(call)
    return operations, max(1, round(SHORTEST_S / timed(call, 1, device)))


def count_operations(call: Callable[[], Any]) -> int:
    """Floating-point operations of a call's matrix products and convolutions, forward and backward."""
    counter = FlopCounterMode(display=False)
    with counter:
        call()
    return int(counter.get_total_flops())


def timed(call: Callable[[], Any], count: int, device: torch.device) -> float:
    """Seconds of a call, the mean of `count` calls one after the other."""
    synchronise(device)
    began = time.perf_counter()
    for _ in range(count):
        call()
    synchronise(device)
    return (time.perf_counter() - began) / count


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_memory(device: torch.device) -> int:
    """On a GPU what torch reserved there, else the process's resident memory at its largest; bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def hardware(device: str) -> dict[str, Any]:
    """What was measured on."""
    if device == "cuda":
        name = torch.cuda.get_device_name()
    else:
        model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        name = f"{model[1] if model else platform.processor()}, {torch.get_num_threads()} threads"
    return {
        "device": name,
        "versions": {package: importlib.metadata.version(package) for package in ("torch", "numpy", "scipy", "medpy")},
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
