"""The report of a finished run, opened in a browser."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from calls import snakemake

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CATEGORIES = ["Clinical quantities", "Provenance", "Segmentation", "Tables", "Training", "Translation"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(run, tmp_path_factory.mktemp("report") / "run")
    made = snakemake(folder, "--report", "results/report.html")
    assert made.returncode == 0, made.stdout + made.stderr
    return folder / "results" / "report.html"


def test_report_loads_nothing_from_elsewhere(report: Path) -> None:
    page = report.read_text()
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']https?://", page)


def test_report_holds_every_result(report: Path) -> None:
    page = report.read_text()
    tables = ["overview.html", "table1.html", "metrics.csv", "translation.csv", "cohort.csv", "resources.csv"]
    for name in (*tables, "provenance.json", "segmentations.png"):
        assert f"results/{name}" in page or f"/{name}" in page


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")
def test_report_opens_in_a_browser(report: Path, tmp_path: Path) -> None:
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    opened = subprocess.run(
        [*command, "--virtual-time-budget=20000", "--dump-dom", report.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert opened.returncode == 0, opened.stderr
    shown = re.sub(r"<script.*?</script>", "", opened.stdout, flags=re.DOTALL)
    for category in CATEGORIES:
        assert category in shown
    assert "the digital phantom" in shown
    # It opens on the result: the cohort, Table 1, the thirds and the figure.
    assert 'class="overview"' in shown
    for text in (
        "heart not found",
        "Bold: the best mean",
        "By thirds of the stack",
        'alt="contours of the manual masks and of each method on slices of two patients"',
    ):
        assert text in shown
