"""Jobs and planning load the packages that they need, and no others: most take little longer than their start."""

import ast
import re
import subprocess
import sys

import pytest

from support import fingerprints

SLOW = {"jsonschema", "matplotlib", "medpy", "pandas", "pydensecrf", "scipy.ndimage", "SimpleITK", "snakemake", "torch"}
NEEDED = {
    "draw_phantom.py": set(),
    "postprocess.py": {"pydensecrf", "scipy.ndimage"},
    "collect_metrics.py": {"pandas"},
    "predict.py": {"torch"},
    "synthesise.py": {"torch"},
}


def loaded_by(text: str, first: str = "") -> set[str]:
    """The modules that the imports of a text load; first: one that is loaded before, which does not count."""
    imports = [ast.unparse(node) for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
    paths = f"import sys; sys.path[:0] = {[str(fingerprints.SCRIPTS), str(fingerprints.SCRIPTS.parent)]!r}"
    before = [f"import {first}" if first else "", "before = set(sys.modules)"]
    loaded = subprocess.run(
        [sys.executable, "-c", "\n".join([paths, *before, *imports, "print(*set(sys.modules) - before)"])],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(loaded.stdout.split())


@pytest.mark.parametrize("script", NEEDED)
def test_a_script_loads_what_it_needs(script: str) -> None:
    assert loaded_by((fingerprints.SCRIPTS / script).read_text()) & SLOW == NEEDED[script]


def test_planning_loads_little_beside_snakemake() -> None:
    rules = (fingerprints.SCRIPTS.parent / "rules" / "common.smk").read_text()
    imports = re.findall(r"^(?:import|from) (?:[^(\n]+$|[^(]+\([^)]+\))", rules, re.MULTILINE)
    assert sum("cardioseg" in each for each in imports) >= 5
    loaded = loaded_by("\n".join(imports), first="snakemake.cli")
    assert {"cardioseg.cohort.plan", "workflow_scripts.support.planning"} <= loaded
    assert loaded & (SLOW | {"nibabel", "pydicom", "scipy.optimize"}) == {"jsonschema"}
