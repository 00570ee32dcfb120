"""A method that is entered in the registry, with a rule for its masks, appears everywhere without another edit."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from calls import snakemake

pytestmark = pytest.mark.slow

ENTRY = 'Method("added", "Added", per_seed=True),\n    '
# The added method comes before this one.
NEXT = 'Method("ensemble", "Ensemble", part=True),'
RULE = """
rule added:
    input:
        "results/masks/cascade_ft_pp/seed{seed}/{patient}.nii.gz",
    output:
        "results/masks/added/seed{seed}/{patient}.nii.gz",
    shell:
        "cp {input} {output}"
"""
TABLES = ["table1.md", "table1.html", "table1.tex"]
FIGURES = ["segmentations", "distributions", "bland_altman"]


def test_an_added_method_appears_in_all_tables_and_figures(
    run: Path, code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = code / "cardioseg" / "evaluation" / "methods.py"
    text = registry.read_text()
    assert text.count(NEXT) == 1
    registry.write_text(text.replace(NEXT, ENTRY + NEXT))
    with (code / "Snakefile").open("a") as file:
        file.write(RULE)
    monkeypatch.setenv("PYTHONPATH", str(code))
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    results = folder / "results"
    wanted = [*TABLES, "summary.txt", "clinical.csv", *(f"figures/{name}.svg" for name in FIGURES)]
    finished = snakemake(folder, *(f"results/{name}" for name in wanted), code=code)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for name in ("metrics.csv", "clinical.csv", "bland_altman.csv", "significance.csv", "table1.csv"):
        methods = pd.read_csv(results / name)["method"].tolist()
        assert methods.index("cascade_ft") < methods.index("added"), name
    assert re.search(r"^added +1 ", (results / "summary.txt").read_text(), re.MULTILINE)
    for name in TABLES:
        assert "Added" in (results / name).read_text(), name
    for name in FIGURES:
        # Letters are drawn as curves; a comment beside them says the text.
        assert "Added" in (results / "figures" / f"{name}.svg").read_text(), name
