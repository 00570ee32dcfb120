"""Write benchmarks/RESULTS.md and its figures from the measurements: python benchmarks/results.py"""

import json
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from measure import FOLDER, STEPS, TRAINING, steps_on

HERE = Path(__file__).parent
NO_GPU = "No step has been measured on a GPU yet.\n"


def main() -> None:
    """Write the page and one figure per device."""
    mpl.use("Agg")
    measured = {path: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
    scales = [json.loads(path.read_text()) for path in sorted((FOLDER / "scale").glob("*.json"))]
    parts = [(HERE / "introduction.md").read_text()]
    for path, device in measured.items():
        hardware = device["hardware"]
        names = steps_on("cuda" if is_gpu(device) else "cpu", hardware.get("bfloat16", False))
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
    (HERE / "RESULTS.md").write_text("\n".join(parts))


def is_gpu(device: dict[str, Any]) -> bool:
    return "threads" not in device["hardware"]["device"]


def heading(hardware: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in hardware["versions"].items())
    instructions = f" Instructions used: {hardware['instructions']}." if "instructions" in hardware else ""
    return f"## {hardware['device']}\n\nPython {hardware['python']}, {versions}.{instructions}\n"


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
    unit = step["unit"]
    return [
        f"{duration(median(step['shipped_s']) / step['amount'])} per {unit}",
        f"{duration(median(step['reference_s']) / step['amount'])} per {unit}" if "reference_s" in step else "",
        "{:.2f} ({:.2f} to {:.2f})".format(*ratio(step)) if "reference_s" in step else "",
        f"{shipped / 1e9:.4g} GFLOP/s" if shipped else "",
        f"{ceiling / 1e9:.4g} GFLOP/s",
        f"{shipped / ceiling:.0%}" if shipped else "",
        f"{published / ceiling:.0%}" if published else "",
        f"{step['peak_memory_bytes'] / 2**30:.2f} GiB" if step["peak_memory_bytes"] else "",
    ]


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
    computed = [name for name, step in figures.items() if step["shipped_operations"]]
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
