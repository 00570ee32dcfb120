"""Measure the costly steps: shipped code beside the published way, and both beside the device's own ceiling.

    python benchmarks/measure.py                             # every step; about 35 minutes on two cores
    python benchmarks/measure.py NAME ...                    # some of them
    python benchmarks/measure.py --avx2                      # as on a processor that has no AVX-512
    python benchmarks/measure.py --device cuda --minutes 9   # on the GPU: every step, then the paper's MUNIT
    python benchmarks/measure.py --device cuda --minutes 9 training   # goes on with the training

Each step runs in a process of its own: after a warm-up, in turn a large matrix product, the shipped code and the
reference. A step that fails says why and leaves the others alone. Figures go to benchmarks/measurements/HARDWARE.json
as soon as they are there; `python benchmarks/results.py` makes the page of them. With --minutes no step is begun in
the last fifth of them, and MUNIT is trained at the paper's size on drawn slices for the minutes that are left. The next
call continues the training, whose state is in build/benchmark.
"""

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from cardioseg.core import precision

FOLDER = Path(__file__).parent / "measurements"
BOTH, GPU, CPU = ("cpu", "cuda"), ("cuda",), ("cpu",)


class Row(NamedTuple):
    """What is measured: what makes it (module and function), its size, precision, repeats, devices and threads.

    For the precision see `cardioseg.core.precision`. Without a number of threads a step has all cores.
    """

    make: str
    size: str
    exactness: str = "float32"
    repeats: int = 3
    devices: tuple[str, ...] = BOTH
    threads: int | None = None


# What matters most comes first.
STEPS = {
    "MUNIT iteration, paper": Row("steps.translation_iteration", "paper"),
    "MUNIT iteration, paper, bfloat16": Row("steps.translation_iteration", "paper", "bfloat16", devices=GPU),
    "MUNIT iteration, paper, no CUDA graph": Row("steps.translation_iteration_without_graph", "paper", devices=GPU),
    "U-Net training, recipe on a GPU, bfloat16": Row("steps.segmentation_steps", "gpu_recipe", "bfloat16", devices=GPU),
    "U-Net training, paper, bfloat16": Row("steps.segmentation_steps", "paper", "bfloat16", 2, GPU),
    "synthesis, paper": Row("steps.synthesis", "paper"),
    "MUNIT iteration, paper, TF32": Row("steps.translation_iteration", "paper", "tf32", devices=GPU),
    "U-Net training, recipe, one thread": Row("steps.segmentation_steps", "recipe", devices=CPU, threads=1),
    "U-Net training, recipe, two threads": Row("steps.segmentation_steps", "recipe", devices=CPU, threads=2),
    "U-Net training, recipe, bfloat16, one thread": Row(
        "steps.segmentation_steps", "recipe", "bfloat16", devices=CPU, threads=1
    ),
    "U-Net training, recipe, bfloat16, two threads": Row(
        "steps.segmentation_steps", "recipe", "bfloat16", devices=CPU, threads=2
    ),
    "augmentation, recipe, one thread": Row("steps.augmentation_alone", "recipe", repeats=7, devices=CPU, threads=1),
    "augmentation, recipe, two threads": Row("steps.augmentation_alone", "recipe", repeats=7, devices=CPU, threads=2),
    "MUNIT iteration, demo": Row("steps.translation_iteration", "demo", repeats=15),
    "MUNIT iteration, demo, bfloat16": Row("steps.translation_iteration", "demo", "bfloat16", 15, CPU),
    "MUNIT iteration, demo, one thread": Row("steps.translation_iteration", "demo", repeats=15, devices=CPU, threads=1),
    "MUNIT iteration, demo, bfloat16, one thread": Row(
        "steps.translation_iteration", "demo", "bfloat16", 15, CPU, threads=1
    ),
    "Winograd alone, MUNIT iteration, paper": Row("steps.winograd_in_translation", "paper", devices=CPU),
    "Winograd alone, U-Net training, paper": Row("steps.winograd_in_segmentation", "paper", repeats=2, devices=CPU),
    "U-Net training, paper": Row("steps.segmentation_steps", "paper", repeats=2),
    "U-Net training, paper, TF32": Row("steps.segmentation_steps", "paper", "tf32", 2, GPU),
    "U-Net training, demo": Row("steps.segmentation_steps", "demo", repeats=15, devices=CPU),
    "U-Net training, two members, demo": Row("steps.members_side_by_side", "demo", repeats=15, devices=CPU),
    "synthesis, demo": Row("steps.synthesis", "demo", repeats=15, devices=CPU),
    "inference, recipe": Row("volume_steps.inference", "recipe"),
    "volume to pictures, recipe": Row("volume_steps.segmented_file", "recipe", devices=CPU),
    "command on one volume, recipe": Row("volume_steps.command_on_one", "recipe", devices=CPU),
    "command on ten volumes, recipe": Row("volume_steps.command_on_ten", "recipe", repeats=1, devices=CPU),
    "start to first mask, recipe": Row("volume_steps.start_to_first_mask", "recipe", devices=CPU),
    "inference, paper": Row("volume_steps.inference", "paper", repeats=2),
    "inference, demo": Row("volume_steps.inference", "demo", repeats=7, devices=CPU),
    "CRF and morphology": Row("volume_steps.postprocessing_of_a_volume", "paper", repeats=7, devices=CPU),
    "evaluation": Row("volume_steps.evaluation", "demo", repeats=15, devices=CPU),
}
TRAINING = "training"
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
PRODUCT = {"cpu": 3072, "cuda": 16384}
SHORTEST_S = {"cpu": 0.5, "cuda": 0.2}
MOST_REPEATS = {"cpu": 15, "cuda": 5}
LONGEST_S = {"cpu": 3600.0, "cuda": 90.0}  # a step that takes longer is given up
SHARE_OF_STEPS = 0.8  # of the minutes; after that no step is begun
STARTING_S, SAVING_S = 15.0, 20.0  # for a training to start and to end


def main() -> None:
    """Measure the named steps, each in its own process, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*STEPS, TRAINING]))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--minutes", type=float, help="how long the call may take; the rest of it goes to a training")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the figures go")
    parser.add_argument("--size", default="paper", choices=["paper", "demo"], help="of the training")
    parser.add_argument("--avx2", action="store_true", help="without AVX-512 and bfloat16, as on older processors")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    began = time.monotonic()
    end = began + 60 * arguments.minutes if arguments.minutes else None
    unknown = set(arguments.names) - {*STEPS, TRAINING}
    if unknown:
        parser.error(f"no step is called {', '.join(unknown)}; there are {', '.join([*STEPS, TRAINING])}")
    if TRAINING in arguments.names and not end:
        parser.error("a training needs --minutes")
    if arguments.alone:
        json.dump(measure(arguments.names[0], torch.device(arguments.device)), sys.stdout)
        return
    if arguments.avx2 and not set(AVX2) <= set(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | AVX2)
    about = hardware(arguments.device)
    path = arguments.folder / f"{file_name(about['device'])}.json"
    steps = steps_on(arguments.device, precision.cpu_has_bfloat16())
    names = arguments.names or [*steps, *([TRAINING] if end else [])]
    failed = []
    for name in names:
        if name == TRAINING:
            continue
        longest = LONGEST_S[arguments.device]
        if end:
            longest = min(longest, end - (STARTING_S + SAVING_S) * (TRAINING in names) - time.monotonic())
        if longest <= 0 or (end and time.monotonic() > began + SHARE_OF_STEPS * (end - began)):
            print(f"{name}: left out, since the time is over", flush=True)
            continue
        started = time.monotonic()
        figures = in_its_own_process(name, arguments.device, longest)
        if figures:
            keep(path, about, name, figures)
            print(f"{name}: {summary(figures)}, in {time.monotonic() - started:.0f} s", flush=True)
        else:
            failed.append(name)
    if TRAINING in names and end:
        if end - SAVING_S - time.monotonic() < STARTING_S:
            sys.exit(f"{TRAINING}: left out, since the time is over")
        figures = train_until(end - SAVING_S, arguments.device, arguments.size)
        if figures:
            keep(path, about, TRAINING, figures)
            print(f"{TRAINING}: {json.dumps(figures['calls'][-1])} {json.dumps(figures['history'][-1:])}", flush=True)
        else:
            failed.append(TRAINING)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def keep(path: Path, about: dict[str, Any], name: str, figures: dict[str, Any]) -> None:
    """Add a step's figures, or the training's, to those in a file."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"steps": {}}
    (kept if name == TRAINING else kept["steps"])[name] = figures
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"hardware": about} | {key: value for key, value in kept.items() if key != "hardware"}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def summary(figures: dict[str, Any]) -> str:
    pieces = {"shipped": "", "reference": "reference "}
    times = [f"{text}{min(figures[f'{piece}_s']):.3g} s" for piece, text in pieces.items() if f"{piece}_s" in figures]
    return ", ".join(times)


def in_its_own_process(name: str, device: str, longest: float) -> dict[str, Any] | None:
    """A step's figures; nothing if it fails or takes longer than `longest` s."""
    call = [sys.executable, __file__, "--alone", "--device", device, name]
    try:
        return json.loads(subprocess.run(call, check=True, stdout=subprocess.PIPE, timeout=longest).stdout)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"{name}: {'took too long' if isinstance(error, subprocess.TimeoutExpired) else 'failed'}", flush=True)
        return None


def train_until(end: float, device: str, size: str) -> dict[str, Any] | None:
    """Train MUNIT, on from where the last call ended, until a point of `time.monotonic`; nothing if that fails."""
    script = Path(__file__).with_name("translation_training.py")
    with subprocess.Popen([sys.executable, str(script), device, size], stdout=subprocess.PIPE) as training:
        try:
            training.wait(max(1.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            training.send_signal(signal.SIGTERM)
        out, _ = training.communicate()
    return json.loads(out) if training.returncode == 0 else None


def steps_on(device: str, has_bfloat16: bool = True) -> list[str]:
    """The steps that are of interest on a device: a GPU trains one network at a time, a CPU has no TF32."""
    return [
        name
        for name, row in STEPS.items()
        if device in row.devices and (device == "cuda" or has_bfloat16 or row.exactness != "bfloat16")
    ]


def measure(name: str, device: torch.device) -> dict[str, Any]:
    """Alternate between ceiling, shipped and reference; times in s per call, work in floating-point operations."""
    row = STEPS[name]
    if row.threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: row.threads])
        torch.set_num_threads(row.threads)
    module, function = row.make.split(".")
    step = getattr(importlib.import_module(module), function)(row.size, row.exactness, device)
    operations, calls = {}, {}
    if step.elsewhere:  # where its operations are not seen
        operations["shipped"], calls["shipped"] = 0, calls_to_be_timed(step.shipped, device)
    else:
        operations["shipped"], calls["shipped"] = warm_up(step.shipped, device, step.calls_before)
    peak = None if step.elsewhere else peak_memory(device)  # before the others take theirs
    if step.without_graph:
        operations["shipped"] = count_operations(step.without_graph)
    pieces = {"product": large_product(row.exactness, device), "shipped": step.shipped}
    if step.reference:
        pieces["reference"] = in_float32(step.reference)
    for piece, call in pieces.items():
        if piece != "shipped":
            operations[piece], calls[piece] = warm_up(call, device)
    times: dict[str, list[float]] = {piece: [] for piece in pieces}
    for _ in range(min(row.repeats, MOST_REPEATS[device.type])):
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


def warm_up(call: Callable[[], Any], device: torch.device, calls_before: int = 0) -> tuple[int, int]:
    """A call's operations, and how often to repeat it so that it takes long enough to be timed."""
    operations = count_operations(call)
    for _ in range(calls_before):
        call()
    return operations, calls_to_be_timed(call, device)


def calls_to_be_timed(call: Callable[[], Any], device: torch.device) -> int:
    return max(1, round(SHORTEST_S[device.type] / timed(call, 1, device)))


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
        processor = processor_name(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        name = f"{processor}, {torch.get_num_threads()} threads, {instructions()}"
    return {"device": name, "versions": versions(), "python": platform.python_version()}


def processor_name(cpuinfo: str) -> str:
    """The processor, with the numbers of its family and model where a virtual machine hides which one it is."""
    told = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", cpuinfo, re.MULTILINE))
    name = told.get("model name") or platform.processor()
    hidden = not re.search(r"\d", name) and {"cpu family", "model"} <= told.keys()
    return f"{name} (family {told['cpu family']}, model {told['model']})" if hidden else name


def instructions() -> str:
    """The most capable instructions that torch uses of the processor."""
    if "ATEN_CPU_CAPABILITY" in os.environ:  # with --avx2
        return "AVX2 alone"
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    return "AVX-512 BF16" if precision.cpu_has_bfloat16() else torch.backends.cpu.get_cpu_capability()


def versions() -> dict[str, str]:
    """Of the packages whose speed counts, where they are installed."""
    found = {}
    for package in ("torch", "numpy", "scipy", "medpy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
