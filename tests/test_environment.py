"""The descriptions of the environment agree with each other and with what the code imports."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "workflow_scripts"
# Packages that are imported by another name.
PACKAGES = {
    "PIL": "pillow",
    "SimpleITK": "simpleitk",
    "itk": "itk-elastix",
    "pydensecrf": "pydensecrf2",
    "yaml": "pyyaml",
}


def locked():
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ ]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def conda_pins():
    dependencies = yaml.safe_load((ROOT / "envs" / "cardioseg.yaml").read_text())["dependencies"]
    return dict(pin.split("==") for entry in dependencies if isinstance(entry, dict) for pin in entry["pip"])


def imports(path):
    """Names of modules that a file may import, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(module):
    """The project's file of a module; nothing where the module is another's."""
    stem = module.replace(".", "/")
    paths = [folder / name for folder in (ROOT, SCRIPTS) for name in (f"{stem}.py", f"{stem}/__init__.py")]
    return next((path for path in paths if path.exists()), None)


def third_party(starts):
    """Top-level modules of others that files import, themselves or through modules of the project."""
    found, seen, waiting = set(), set(), list(starts)
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for module in imports(path):
            if file_of(module):
                waiting.append(file_of(module))
            elif file_of(module.rpartition(".")[0]) is None:
                found.add(module.partition(".")[0])
    return found - set(sys.stdlib_module_names)


def test_conda_has_what_the_scripts_import_and_no_more():
    scripts = list(SCRIPTS.glob("*.py"))
    assert len(scripts) > 20
    assert {PACKAGES.get(name, name) for name in third_party(scripts)} == set(conda_pins())


def test_conda_pins_equal_the_lock():
    torch = next(entry for entry in project()["dependencies"] if entry.startswith("torch=="))
    versions = locked() | dict([torch.split("==")])
    assert {name: versions.get(name) for name in conda_pins()} == conda_pins()


def test_segment_and_export_do_not_import_what_is_under_the_gpl():
    assert "medpy" in third_party([SCRIPTS / "evaluate.py"])
    assert "medpy" not in third_party(
        [*(ROOT / "cardioseg" / "model").glob("*.py"), *(ROOT / "cardioseg" / "cohort").glob("*.py")]
    )


@pytest.mark.parametrize("name", ["snakemake", "snakemake-executor-plugin-slurm"])
def test_the_command_alone_needs_no_workflow_engine(name):
    assert not any(entry.startswith(name) for entry in project()["dependencies"])
    assert any(entry.startswith(name) for entry in project()["optional-dependencies"]["workflow"])
    assert "snakemake" not in third_party([ROOT / "cardioseg" / "command.py"])


def test_the_citation_names_the_present_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project()["version"]
    assert f"## {project()['version']}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", ["with space", "with'quote", "with$dollar"])
def test_set_up_below_a_path_that_a_shell_splits_is_refused(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    for file in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / file, folder)
    refused = subprocess.run(["make", ".venv/.ready"], cwd=folder, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "at which a shell splits a path" in refused.stderr
    assert not (folder / ".venv").exists()


def test_make_clean_leaves_what_a_run_knows_of_its_results(tmp_path):
    """README runs the workflow in the repository's folder."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in (".snakemake", "results", ".venv"):
        (tmp_path / name).mkdir()
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".snakemake", "Makefile", "results"]
