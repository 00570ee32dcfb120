import re
import shutil
import subprocess

import matplotlib.image
import numpy as np
import pytest

from cardioseg.model import page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ABOUT = {"model": "/models/ensemble.pt"}
FOUND = {"LV_volume_ml": 131.4, "MYO_mass_g": 120.0, "MYO_thickness_mm": None, "notes": []}
SCARRED = {
    "scar_method": "fwhm",
    "scar_fwhm_mass_g": 12.34,
    "scar_fwhm_percent": 10.3,
    "scar_fwhm_threshold": 431.0,
    "dark_core_fwhm_ml": 0.5,
    "scar_notes": ["noise may count as scar"],
}


def entry(name, status="ok", reasons=(), **numbers):
    return {"name": name, "image": f"/data/{name}.nii.gz", "status": status, "reasons": list(reasons), **numbers}


@pytest.fixture
def folder(tmp_path):
    for path in ("slices/b.png", "slices/sub/a & c.png", "scar/b.png", "masks/b.nii.gz"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
        if path.endswith("png"):
            matplotlib.image.imsave(tmp_path / path, np.random.default_rng(1).random((300, 1200, 3)))
    entries = [
        entry("b", "review", ["RV is missing"], **FOUND, **SCARRED),
        entry("sub/a & c", **FOUND | {"LV_volume_ml": 9.8}),
        entry("<script>alert(1)</script>", "failed", ["no image"]),
    ]
    page.write(tmp_path, ABOUT, entries)
    return tmp_path


def test_every_image_has_its_row_and_its_numbers(folder):
    text = (folder / "report.html").read_text()
    rows = re.findall(r"<tr>(.*?)</tr>", text.partition("<tbody>")[2].partition("</tbody>")[0], re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
    titles = re.findall(r"<button type=\"button\">(.*?)</button>", text)
    named = [dict(zip(titles, row[1:], strict=True)) for row in cells]
    assert [row["status"] for row in named] == ["review", "ok", "failed"]
    assert (named[0]["LV ml"], named[1]["LV ml"], named[2]["LV ml"]) == ("131", "9.8", "N/A")
    assert named[0]["MYO thickness, mm"] == "N/A"
    assert (named[0]["scar g"], named[0]["scar method"], named[0]["scar threshold"]) == ("12.3", "fwhm", "431")
    assert named[1]["scar g"] == "N/A"
    assert titles[3:9] == ["MYO g", "scar g", "scar %", "dark core ml", "scar method", "scar threshold"]
    assert named[0]["why"] == "RV is missing"
    assert "1 ok" in text and "1 failed" in text
    assert "noise may count as scar" in text


def test_structure_called_scar_has_its_columns_beside_those_of_the_measured_scar(tmp_path):
    page.write(tmp_path, ABOUT, [entry("b", scar_volume_ml=3.21, scar_agreement=0.876, **FOUND, **SCARRED)])
    text = (tmp_path / "report.html").read_text()
    titles = re.findall(r"<button type=\"button\">(.*?)</button>", text)
    assert titles.count("scar g") == titles.count("scar ml") == titles.count("scar agreement") == 1
    assert "fwhm g" not in text and "3.21" in text and "0.876" in text


def test_page_needs_nothing_but_itself_and_links_to_what_there_is(folder):
    text = (folder / "report.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", text)
    assert {source.partition(",")[0] for source in re.findall(r'src="(.*?)"', text)} == {"data:image/jpeg;base64"}
    links = {link for link in re.findall(r'href="(.*?)"', text) if not link.startswith("#")}
    assert links == {"results.csv", "masks/b.nii.gz", "slices/b.png", "scar/b.png", "slices/sub/a%20%26%20c.png"}
    assert text.count("<figure>") == 3


def test_pictures_and_table_are_told_apart_without_sight(folder):
    text = (folder / "report.html").read_text()
    alternatives = re.findall(r'alt="(.*?)"', text)
    assert alternatives.count("slices of b") == 1 and len(set(alternatives)) == len(alternatives)
    assert re.search(r'<div class="wide"[^>]* tabindex="0">', text)  # it scrolls, also by keys


def test_uncertainty_says_what_its_colours_are(folder):
    matplotlib.image.imsave(folder / "slices/b.png", np.zeros((9, 9, 3)))
    (folder / "uncertainty").mkdir()
    matplotlib.image.imsave(folder / "uncertainty/b.png", np.zeros((9, 9, 3)))
    page.write(folder, ABOUT, [entry("b", **FOUND)])
    assert "from black (certain) to yellow" in (folder / "report.html").read_text()


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")
def test_page_is_no_wider_than_a_narrow_window(folder, tmp_path):
    page.write(folder, ABOUT, [entry("/".join(30 * ["long"]), "review", ["RV is missing"], **FOUND, **SCARRED)])
    text = (folder / "report.html").read_text()
    measure = "<script>document.title = document.documentElement.scrollWidth</script></body>"
    (folder / "measured.html").write_text(text.replace("</body>", measure))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [CHROMIUM, *options, "--window-size=600,800", "--dump-dom", (folder / "measured.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    assert int(re.search(r"<title>(\d+)</title>", shown.stdout)[1]) <= 600


def test_names_with_markup_are_shown_as_text(folder):
    text = (folder / "report.html").read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")
def test_table_is_sorted_by_a_click(folder, tmp_path):
    text = (folder / "report.html").read_text()
    click = (
        '<script>[...document.querySelectorAll("#images th button")]'
        '.find(title => title.textContent === "LV ml").click()</script></body>'
    )
    (folder / "clicked.html").write_text(text.replace("</body>", click))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [CHROMIUM, *options, "--virtual-time-budget=5000", "--dump-dom", (folder / "clicked.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    body = shown.stdout.partition("<tbody>")[2].partition("</tbody>")[0]
    assert re.findall(r'class="status (\w+)"', body) == ["ok", "review", "failed"]
