import subprocess

import pandas as pd

from cardioseg import provenance

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def benchmark(path, seconds, memory, cpu):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}{seconds}\t0:00:00\t{memory}\t-\t-\t-\t0\t0\t0\t{cpu}\n")


def test_resources_of_steps(tmp_path):
    benchmark(tmp_path / "crop" / "LGE" / "1.tsv", 2.0, 100.0, 1.5)
    benchmark(tmp_path / "crop" / "LGE" / "2.tsv", 3.0, 120.0, 2.5)
    benchmark(tmp_path / "translate.tsv", 50.0, 900.0, 49.0)
    table = provenance.resources(tmp_path)
    assert table.to_dict("list") == {
        "step": ["translate", "crop"],
        "jobs": [1, 2],
        "seconds": [50.0, 5.0],
        "longest_s": [50.0, 3.0],
        "cpu_s": [49.0, 4.0],
        "memory_mb": [900.0, 120.0],
    }


def test_a_job_too_short_to_be_measured(tmp_path):
    benchmark(tmp_path / "metrics.tsv", 0.1, "-", 0.0)
    assert pd.isna(provenance.resources(tmp_path)["memory_mb"].item())


def test_no_benchmarks(tmp_path):
    table = provenance.resources(tmp_path / "none")
    assert table.empty
    assert list(table) == ["step", "jobs", "seconds", "longest_s", "cpu_s", "memory_mb"]


def test_versions(tmp_path):
    versions = provenance.versions(tmp_path).set_index("component")["version"]
    assert versions["code"] == "not under git"
    assert versions["torch"].startswith("2.")
    assert not (versions == "not installed").any()


def test_commit(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    (tmp_path / "file").write_text("one")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "one"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    code = provenance.versions(tmp_path)["version"][0]
    assert len(code) == 12
    assert commit.startswith(code)
    (tmp_path / "file").write_text("two")
    assert provenance.versions(tmp_path)["version"][0] == f"{code}-dirty"


def test_missing_package_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "PACKAGES", ["no-such-package"])
    assert provenance.versions(tmp_path).iloc[-1].to_list() == ["no-such-package", "not installed"]
