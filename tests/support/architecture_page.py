"""docs/architecture.md and its two drawings: the data's way through results/, and which folder imports which.

python tests/support/architecture_page.py

says how many modules and imports, folders and arrows between folders the library has.
"""

import ast
from collections.abc import Iterable, Mapping
from html import escape
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
Arrows = set[tuple[str, str]]

# What is made from what, as the folders and files of results/; tests/workflow/test_architecture.py compares it with the
# rules. Where there is a longer way, a shortcut need not be drawn.
DATA = {
    "raw volumes": ["localisation/", "cropped/"],
    "localisation/": ["located/", "cropped/", "model/ensemble.pt"],
    "located/": ["cohort.csv"],
    "cohort.csv": ["model/ensemble.pt"],
    "cropped/": ["translation/", "synthetic/", "segmentation/", "self_training/", "probabilities/"],
    "translation/": ["synthetic/"],
    "synthetic/": ["segmentation/", "translation.csv"],
    "segmentation/": ["self_training/", "probabilities/", "uncertainty/", "translation.csv", "model/ensemble.pt"],
    "self_training/": ["probabilities/", "uncertainty/", "model/ensemble.pt"],
    "probabilities/": ["masks/"],
    "masks/": ["metrics.csv", "scar, segments"],
    "metrics.csv": ["table1", "clinical.csv", "model/ensemble.pt"],
    "model/ensemble.pt": ["cardioseg segment"],
}
# Not drawn: what shows or records something of everything, and what is written beside a file that is drawn.
ASIDE = {
    "resampled/",
    "figures",
    "overview.html",
    "provenance",
    "summary.txt",
    "significance.csv",
    "bland_altman.csv",
    "metrics_thirds.csv",
}
INTRODUCTION = """\
# Architecture

The tables and drawings on this page are made from the code by
`WRITE_DOCS=1 python -m pytest tests/docs/test_architecture_page.py`; do not edit them.

## The way of the data

Every step is a file in `results/`, and every folder there is a stage. `rules/`, `workflow_scripts/`, `cardioseg/` and
`tests/` are ordered by the same stages.

![The way of the data](data.svg)

The manual masks join at `metrics.csv`, and the registration of a patient's own bSSFP labels at `masks/`. Figures and
provenance, which show and record something of everything, are left out, and so are shortcuts of a longer way that
add nothing. Stages beyond the paper, such as `self_training/`, are there where the configuration has their sections.
[Outputs](outputs.md) explains each file.

- **`rules/`** say which file is made from which. `common.smk` reads the configuration and the cohort once.
- **`workflow_scripts/`** are thin: a script hands the files and parameters of its rule to the library, and writes what
  comes back.
- **`cardioseg/`** is the library. It knows nothing of Snakemake.
- **`cardioseg/command.py`** is the command `cardioseg`, for users who never saw the workflow.

## The folders of the library
"""


def page() -> str:
    """The page for the present code."""
    arrows = between_folders(imports(ROOT))
    rows = [
        (f"`{name}`", summary(name), ", ".join(f"`{other}`" for one, other in sorted(arrows) if one == name))
        for name in folders(arrows)
    ]
    lines = ["| folder | what it is for | imports |", "|---|---|---|", *("| " + " | ".join(row) + " |" for row in rows)]
    drawing = "\nEvery folder may import `core`, which the drawing leaves out. There are no circular imports.\n"
    return "\n".join([INTRODUCTION, *lines, drawing, "![Which folder imports which](folders.svg)"]) + "\n"


def drawings() -> dict[str, str]:
    """The page's drawings (SVG) by file name."""
    data = {(one, other) for one, others in DATA.items() for other in others}
    arrows = {(one, other) for one, other in between_folders(imports(ROOT)) if other != "core"}
    return {"data.svg": draw(data), "folders.svg": draw(arrows)}


def stage(path: str) -> str:
    """The box that a file of a run is drawn as, or its name in `ASIDE`."""
    if not path.startswith("results/") or path.startswith("results/phantom/"):
        return "raw volumes"
    name, *rest = path.removeprefix("results/").split("/")
    stem = name.partition(".")[0]
    alone = {"metrics": "metrics.csv", "cohort": "cohort.csv", "model": "model/ensemble.pt", "table1": "table1"}
    alone |= dict.fromkeys(("scar", "segments", "examinations"), "scar, segments")
    if stem in alone or stem in ASIDE:
        return alone.get(stem, stem)
    return f"{name}/" if rest else name


def modules(root: Path) -> dict[str, Path]:
    """The library's modules, by name."""
    found = {}
    for path in sorted((root / "cardioseg").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path) -> Arrows:
    """The imports of every module, anywhere in its code."""
    known = modules(root)
    arrows = set()
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text())):
            imported: list[str] = []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                imported = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            for other in imported:
                if other.partition(".")[0] == "cardioseg":
                    arrows.add((name, other if other in known else other.rpartition(".")[0]))
    return {(one, other) for one, other in arrows if one != other}


def folder(module: str) -> str:
    """The folder of a module, or the module itself if it is in no folder."""
    return module.split(".")[1] if "." in module else module


def between_folders(arrows: Arrows) -> Arrows:
    """Imports between folders, each once."""
    return {(folder(one), folder(other)) for one, other in arrows if folder(one) != folder(other)}


def folders(arrows: Arrows) -> list[str]:
    """All folders, those that import nothing first."""
    depth = ranks({(other, one) for one, other in arrows})
    return sorted(depth, key=lambda name: (depth[name], name))


def summary(name: str) -> str:
    """The first line of a folder's docstring."""
    path = ROOT / "cardioseg" / ("" if name == "cardioseg" else name)
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(source.read_text())) or "").splitlines()[0]


def ranks(arrows: Arrows) -> dict[str, int]:
    """The length of the longest path to each node; AssertionError if there is a cycle."""
    names = {name for arrow in arrows for name in arrow}
    rank = dict.fromkeys(names, 0)
    for _ in names:
        changed = False
        for one, other in sorted(arrows):
            if rank[other] <= rank[one]:
                rank[other], changed = rank[one] + 1, True
        if not changed:
            return rank
    raise AssertionError("the arrows go round in a circle")


# The drawing: nodes in rows by rank, and a waypoint in each row that an arrow crosses.
STEP_X, STEP_Y, BOX, HEIGHT, MARGIN = 180, 84, 160, 34, 20


def draw(arrows: Arrows) -> str:
    """Boxes and arrows, from top to bottom, as SVG."""
    rank = ranks(arrows)
    chains = {(one, other): chain(one, other, rank) for one, other in sorted(arrows)}
    rows: list[list[str]] = [[] for _ in range(max(rank.values()) + 1)]
    for name in sorted(rank):
        rows[rank[name]].append(name)
    for points in chains.values():
        for row, point in enumerate(points[1:-1], rank[points[0]] + 1):
            rows[row].append(point)
    links = {link for points in chains.values() for link in pairwise(points)}
    place = arrange(rows, links)
    width = max(x for x, _ in place.values()) + BOX / 2 + MARGIN
    height = (len(rows) - 1) * STEP_Y + HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="sans-serif" font-size="14">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>',
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
        *(curve([place[point] for point in points]) for points in chains.values()),
        *(box(name, *place[name]) for name in sorted(rank)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def chain(one: str, other: str, rank: Mapping[str, int]) -> list[str]:
    return [one, *(f"{one}>{other}>{row}" for row in range(rank[one] + 1, rank[other])), other]


def arrange(rows: list[list[str]], links: Iterable[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    """Centres: each row is ordered by the mean place of its neighbours, swept down and up a few times."""
    neighbours: dict[str, list[str]] = {}
    for one, other in sorted(links):
        neighbours.setdefault(one, []).append(other)
        neighbours.setdefault(other, []).append(one)
    widest = max(map(len, rows))
    x = {name: float(index) for row in rows for index, name in enumerate(row)}
    for _ in range(8):
        for row in [*rows, *reversed(rows)]:
            row.sort(key=lambda name: (sum(x[other] for other in neighbours[name]) / len(neighbours[name]), name))
            x |= {name: index + (widest - len(row)) / 2 for index, name in enumerate(row)}
    return {
        name: (MARGIN + BOX / 2 + x[name] * STEP_X, MARGIN + HEIGHT / 2 + row * STEP_Y)
        for row, names in enumerate(rows)
        for name in names
    }


def curve(points: list[tuple[float, float]]) -> str:
    path = f"M{points[0][0]:g} {points[0][1] + HEIGHT / 2:g}"
    for index, ((x, y), (end_x, end_y)) in enumerate(pairwise(points)):
        start = y + HEIGHT / 2 if index == 0 else y
        end = end_y - HEIGHT / 2 if index == len(points) - 2 else end_y
        middle = (start + end) / 2
        path += f"C{x:g} {middle:g} {end_x:g} {middle:g} {end_x:g} {end:g}"
    return f'<path d="{path}" fill="none" stroke="#667" stroke-width="1.3" marker-end="url(#tip)"/>'


def box(name: str, x: float, y: float) -> str:
    return (
        f'<rect x="{x - BOX / 2:g}" y="{y - HEIGHT / 2:g}" width="{BOX}" height="{HEIGHT}" rx="6" fill="#eef2fb" '
        f'stroke="#3f51b5"/><text x="{x:g}" y="{y + 5:g}" text-anchor="middle" fill="#223">{escape(name)}</text>'
    )


if __name__ == "__main__":
    found = imports(ROOT)
    inside = between_folders(found)
    print(f"{len(modules(ROOT))} modules, {len(found)} imports between them")
    print(f"{len({name for arrow in inside for name in arrow})} folders, {len(inside)} arrows between them")
