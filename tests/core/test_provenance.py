import subprocess
from importlib import metadata

import pandas as pd
import torch

from cardioseg.core import provenance

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def benchmark(path, seconds, memory, cpu):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}{seconds}\t0:00:00\t{memory}\t-\t-\t-\t0\t0\t0\t{cpu}\n")


def resources(folder):
    return provenance.resources(folder, folder.rglob("*.tsv"))


def test_resources_are_summed_by_step(tmp_path):
    benchmark(tmp_path / "crop" / "LGE" / "1.tsv", 2.0, 100.0, 1.5)
    benchmark(tmp_path / "crop" / "LGE" / "2.tsv", 3.0, 120.0, 2.5)
    benchmark(tmp_path / "train_translation.tsv", 50.0, 900.0, 49.0)
    table = resources(tmp_path)
    assert table.to_dict("list") == {
        "step": ["train_translation", "crop"],
        "jobs": [1, 2],
        "seconds": [50.0, 5.0],
        "longest_s": [50.0, 3.0],
        "cpu_s": [49.0, 4.0],
        "memory_mb": [900.0, 120.0],
    }


def test_job_too_short_to_be_measured_has_no_memory(tmp_path):
    benchmark(tmp_path / "metrics.tsv", 0.1, "-", 0.0)
    assert pd.isna(resources(tmp_path)["memory_mb"].item())


def test_folder_without_benchmarks_gives_an_empty_table(tmp_path):
    table = resources(tmp_path)
    assert table.empty
    assert list(table) == ["step", "jobs", "seconds", "longest_s", "cpu_s", "memory_mb"]


def test_versions_of_all_packages_are_known():
    versions = provenance.versions()
    assert versions["torch"].startswith("2.")
    assert versions["Python"].startswith("3.")
    assert "not installed" not in versions.values()


def test_torch_is_named_with_its_build():
    assert provenance.versions()["torch"] == torch.__version__


def test_packages_that_others_depend_on_are_recorded():
    installed = provenance.installed()
    assert installed["sympy"] == metadata.version("sympy")  # of torch
    assert list(installed) == sorted(installed, key=str.lower)


def test_missing_package_is_recorded_as_not_installed(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ["no-such-package"])
    assert provenance.versions()["no-such-package"] == "not installed"


def test_hardware_is_described(monkeypatch):
    hardware = provenance.hardware()
    assert hardware["processor"]
    assert hardware["cores"] >= 1
    assert hardware["memory_gb"] > 0.5
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", "NVIDIA {}".format)
    assert provenance.hardware()["gpus"] == ["NVIDIA 0", "NVIDIA 1"]


def test_commit_and_modification_are_found(tmp_path):
    assert provenance.code(tmp_path) == {"commit": None, "modified": None}
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    (tmp_path / "file").write_text("one")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "one"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    (tmp_path / "results").write_text("not under git")
    assert provenance.code(tmp_path) == {"commit": commit, "modified": False}
    (tmp_path / "file").write_text("two")
    assert provenance.code(tmp_path) == {"commit": commit, "modified": True}


def test_versions_are_plain_text():
    """torch's own type of version is not plain text and cannot be saved beside tensors."""
    assert {type(found) for found in provenance.versions().values()} == {str}
