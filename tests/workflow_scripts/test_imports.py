"""A job loads the packages that its script needs, and no others: most jobs take little longer than their start."""

import ast
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


@pytest.mark.parametrize("script", NEEDED)
def test_a_script_loads_what_it_needs(script: str) -> None:
    tree = ast.parse((fingerprints.SCRIPTS / script).read_text())
    imports = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    paths = f"import sys; sys.path[:0] = {[str(fingerprints.SCRIPTS), str(fingerprints.SCRIPTS.parent)]!r}"
    loaded = subprocess.run(
        [sys.executable, "-c", "\n".join([paths, *imports, "print(*sys.modules)"])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(loaded.stdout.split()) & SLOW == NEEDED[script]
