"""Write benchmarks/RESULTS.md and its figures from the measurements: python benchmarks/results.py"""

import json
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from cost import RUNS
from measure import FOLDER, STEPS, TRAINING, steps_on

HERE = Path(__file__).parent
NO_GPU = "No step has been measured on a GPU yet.\n"
SHOWN_STEPS = 8
# Processor cores and dollars an hour: list prices, Linux, on demand, of a region in the USA. They change: put in yours.
MACHINES = {
    "AWS c7a.large (AMD EPYC, 2 vCPUs of a core each)": (2, 0.1026),
    "AWS c7i.large (Intel Xeon with AMX, 2 vCPUs of half a core each)": (1, 0.0893),
    "Google c3d-standard-4 (AMD EPYC, 4 vCPUs of half a core each)": (2, 0.1816),
}
GPU_HOUR = (2.0, 5.0)  # dollars for an hour of an H100, the cheapest and the large providers
PAPERS_ITERATIONS = 20_000


def main() -> None:
    """Write the page and one figure per device."""
    mpl.use("Agg")
    measured = {path: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
    scales = [json.loads(path.read_text()) for path in sorted((FOLDER / "scale").glob("*.json"))]
    parts = [(HERE / "introduction.md").read_text()]
    for path, device in measured.items():
        hardware = device["hardware"]
        has_bfloat16 = hardware["device"].endswith(("AMX", "AVX-512 BF16"))
        names = steps_on("cuda" if is_gpu(device) else "cpu", has_bfloat16)
        parts += [heading(hardware), table(device["steps"], names), *augmentation_shares(device["steps"])]
        figure = path.with_suffix(".png")
        draw(device, figure)
        parts.append(f"![Ratio to the published way, and share of the ceiling]({figure.relative_to(HERE)})\n")
        if TRAINING in device:
            parts.append(course(device[TRAINING]))
    if not any(map(is_gpu, measured.values())):
        parts += ["## GPU\n", NO_GPU]
    for scale in scales:
        parts += [scaling(scale)]
    parts += [costs(json.loads(path.read_text())) for path in sorted(RUNS.glob("*.json"))]
    parts += [translation_cost(device) for device in measured.values() if is_gpu(device)]
    (HERE / "RESULTS.md").write_text("\n".join(parts))


def is_gpu(device: dict[str, Any]) -> bool:
    return "threads" not in device["hardware"]["device"]


def heading(hardware: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in hardware["versions"].items())
    return f"## {hardware['device']}\n\nPython {hardware['python']}, {versions}.\n"


def table(figures: dict[str, Any], names: list[str]) -> str:
    """One row a measured step; below it, a sentence that names the steps that were not measured."""
    lines = [
        "| step | shipped | reference | ratio (range) | arithmetic | ceiling | share | published share | peak memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join([name, *row(figures[name])]) + " |" for name in names if name in figures]
    missing = [name for name in names if name not in figures]
    return "\n".join([*lines, *(["", f"Not measured: {'; '.join(missing)}."] if missing else [])]) + "\n"


def augmentation_shares(steps: dict[str, Any]) -> list[str]:
    """A sentence on the share of a training step that augmentation takes, where both were measured."""
    shares = []
    for name, step in steps.items():
        alone = steps.get(f"augmentation, recipe, {name.rpartition(', ')[2]}")
        if name.startswith("U-Net training, recipe") and alone:
            share = median(alone["shipped_s"]) / alone["amount"] / (median(step["shipped_s"]) / step["amount"])
            shares.append(f'{share:.0%} of "{name}"')
    return [f"Augmentation takes {', '.join(shares)}.\n"] if shares else []


def row(step: dict[str, Any]) -> list[str]:
    shipped, ceiling = rate(step, "shipped"), rate(step, "product")
    published = published_rate(step)
    unit, told = step["unit"], mostly_products(step)
    return [
        f"{duration(median(step['shipped_s']) / step['amount'])} per {unit}",
        f"{duration(median(step['reference_s']) / step['amount'])} per {unit}" if "reference_s" in step else "",
        "{:.2f} ({:.2f} to {:.2f})".format(*ratio(step)) if "reference_s" in step else "",
        f"{shipped / 1e9:.4g} GFLOP/s" if told else "",
        f"{ceiling / 1e9:.4g} GFLOP/s",
        f"{shipped / ceiling:.0%}" if told else "",
        f"{published / ceiling:.0%}" if told and published else "",
        f"{step['peak_memory_bytes'] / 2**30:.2f} GiB" if step["peak_memory_bytes"] else "",
    ]


def mostly_products(step: dict[str, Any]) -> bool:
    """Whether products and convolutions, whose operations are counted, are more than a trifle of a step."""
    return rate(step, "shipped") > 0.01 * rate(step, "product")


def ratio(step: dict[str, Any]) -> tuple[float, float, float]:
    """Reference over shipped, pair by pair: median, smallest, largest."""
    ratios = [reference / shipped for shipped, reference in zip(step["shipped_s"], step["reference_s"], strict=True)]
    return median(ratios), min(ratios), max(ratios)


def rate(step: dict[str, Any], piece: str) -> float:
    """Floating-point operations a second, median."""
    return step[f"{piece}_operations"] / median(step[f"{piece}_s"])


def published_rate(step: dict[str, Any]) -> float:
    """The reference's operations a second of the shipped code's time; 0 without a reference."""
    return step.get("reference_operations", 0) / median(step["shipped_s"])


def duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def draw(device: dict[str, Any], path: Path) -> None:
    """Ratios with their ranges, and shares of the ceiling."""
    figures = {name: device["steps"][name] for name in reversed(STEPS) if name in device["steps"]}
    compared = [name for name, step in figures.items() if "reference_s" in step]
    computed = [name for name, step in figures.items() if mostly_products(step)]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 0.5 + 0.4 * len(figures)), layout="constrained")
    ratios = [ratio(figures[name]) for name in compared]
    middles = [middle for middle, _, _ in ratios]
    spread = [[middle - low for middle, low, _ in ratios], [high - middle for middle, _, high in ratios]]
    left.errorbar(middles, compared, xerr=spread, fmt="o", color="#2b7bba", capsize=3)
    left.set_xscale("log", base=2)
    left.xaxis.set_major_formatter("{x:g}")
    left.axvline(1, color="black", linewidth=0.8)
    left.set_xlabel("times as fast as the published way")
    published = [published_rate(figures[name]) / rate(figures[name], "product") for name in computed]
    shares = [rate(figures[name], "shipped") / rate(figures[name], "product") for name in computed]
    right.barh(computed, published, height=0.7, color="#bfe0cb", label="published operations")
    right.barh(computed, shares, height=0.4, color="#3a9d5d", label="executed operations")
    right.legend()
    right.axvline(1, color="black", linewidth=0.8)
    right.set_xlabel("share of a large matrix product's rate")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def course(training: dict[str, Any]) -> str:
    """How fast a training of MUNIT went, and its losses."""
    rows = training["history"]
    shown = [rows[index] for index in sorted({0, len(rows) // 4, len(rows) // 2, 3 * len(rows) // 4, len(rows) - 1})]
    rates = "; ".join(
        f"iterations {call['first'] + 1} to {call['last']} in {call['seconds']:.0f} s "
        f"({call['iterations_per_second']:.3g} a second)"
        for call in training["calls"]
    )
    losses = list(rows[0])[1:]
    lines = [
        f"MUNIT trained at the {training['size']}'s size in {training['precision']} on drawn slices: {rates}.",
        "The times include start and saving. Losses, each the mean over some of the iterations before:\n",
        "| iteration | " + " | ".join(losses) + " |",
        "|" + "---|" * (1 + len(losses)),
        *(f"| {row['iteration']} | " + " | ".join(f"{row[name]:.3g}" for name in losses) + " |" for row in shown),
    ]
    return "\n".join(lines) + "\n"


def costs(run: dict[str, Any]) -> str:
    """What a run took, and what it would cost on rented machines."""
    hours = sum(step["cpu_s"] for step in run["steps"]) / 3600
    longest = sorted(run["steps"], key=lambda step: -step["cpu_s"])
    rest = longest[SHOWN_STEPS:]
    rows = [
        *((step["step"], step["jobs"], step["cpu_s"]) for step in longest[:SHOWN_STEPS]),
        ("all others", sum(step["jobs"] for step in rest), sum(step["cpu_s"] for step in rest)),
        ("together", sum(step["jobs"] for step in longest), 3600 * hours),
    ]
    lines = [
        f"## Cost of a run: {run['name']}\n",
        f"CPU time of its jobs on {run['processor']}, their starts included: {hours:.2f} core-hours.\n",
        "| step | jobs | core-hours | share |",
        "|---|---|---|---|",
        *(f"| {step} | {jobs} | {seconds / 3600:.3f} | {seconds / 36 / hours:.0f}% |" for step, jobs, seconds in rows),
        "\nOn a rented machine of that speed whose cores are all busy, core-hours / cores x price:\n",
        *(
            f"- {machine}: {hours:.2f} core-hours / {cores} x ${price} = ${hours / cores * price:.2f}"
            f" in {hours / cores:.1f} h"
            for machine, (cores, price) in MACHINES.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def translation_cost(device: dict[str, Any]) -> str:
    """What the paper's MUNIT would cost on a GPU."""
    name = "MUNIT iteration, paper, bfloat16"
    if name not in device["steps"]:
        return ""
    seconds = median(device["steps"][name]["shipped_s"])
    hours = PAPERS_ITERATIONS * seconds / 3600
    low, high = (f"${hours * price:.2f}" for price in GPU_HOUR)
    return (
        f"The paper's MUNIT in bfloat16 on {device['hardware']['device']}: {PAPERS_ITERATIONS} iterations x "
        f"{duration(seconds)} = {hours:.2f} h; at ${GPU_HOUR[0]:.0f} to ${GPU_HOUR[1]:.0f} an hour, {low} to {high}.\n"
    )


def scaling(measured: dict[str, Any]) -> str:
    """Time and memory against the number of patients."""
    parts = [f"## Number of patients, {measured['hardware']['device']}\n"]
    for rows in (measured[part] for part in ("planning", "stages") if part in measured):
        columns = list(rows[0])
        lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        parts.append("\n".join(lines + ["| " + " | ".join(str(row[name]) for name in columns) + " |" for row in rows]))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
