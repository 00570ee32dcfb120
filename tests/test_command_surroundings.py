"""The command on other machines: with a full disk, and in other languages."""

import json
import os
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from cardioseg import command
from trained import small_patient, write_results

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with an image, whose name is not ASCII, and results."""
    folder = tmp_path_factory.mktemp("work")
    small_patient(folder / "release")
    next((folder / "release").rglob("*LGE.nii.gz")).rename(folder / "Größe.nii.gz")
    write_results(folder / "results", nib.load(folder / "Größe.nii.gz").affine)
    return folder


ON_A_SMALL_DISK = f"""\
import shutil, sys
from pathlib import Path
from cardioseg import command
disk, kept = Path(sys.argv[1]), Path(sys.argv[2])
free = shutil.disk_usage(disk).free
for room in (0, 8, 40, 10**6):
    with (disk / "ballast").open("wb") as file:
        file.write(bytes(max(0, free - 1024 * room)))
    status = command.main(["segment", "Größe.nii.gz", "--model", "results", "--out", str(disk / "out")])
    assert status == ({command.REVIEW} if room == 10**6 else {command.FAILED})
    shutil.copytree(disk / "out", kept / str(room)) if (disk / "out").exists() else (kept / str(room)).mkdir()
"""


def test_full_disk(work, tmp_path):
    """A small disk of its own is filled to less and less: nothing half is left, and with room the same command ends."""
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    kept.mkdir()
    mounted = f"mount -t tmpfs -o size=8m none {disk}"
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*alone, mounted], capture_output=True).returncode:
        pytest.skip("no permission to mount")
    ended = subprocess.run(
        [*alone, f'{mounted} && exec "$@"', "sh", sys.executable, "-c", ON_A_SMALL_DISK, disk, kept],
        cwd=work,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    said = [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]
    assert len(said) == 3
    for line in said:  # the folder, or the file in it
        assert line.startswith(f"Error: {disk / 'out'}")
        assert line.endswith(": No space left on device. Make room and give the same command again.")
    for folder in kept.iterdir():
        for path in folder.rglob("*"):
            assert not path.name.startswith(".")
            if path.name.endswith(".nii.gz"):
                assert np.asarray(nib.load(path).dataobj).ndim == 3
        if (folder / "results.json").exists():
            assert len(json.loads((folder / "results.json").read_text())["images"]) == (folder.name == str(10**6))
    assert (kept / str(10**6) / "masks" / "Größe.nii.gz").exists()


# As programs do that speak their user's language.
CALL = """\
import locale, sys
from cardioseg import command
locale.setlocale(locale.LC_ALL, "")
sys.exit(command.main())
"""


def results_in(work, folder, language, locales):
    """The masks by name, and the table without times, that the command writes where a language is spoken."""
    charmap = language.partition(".")[2]
    image = os.fsencode(folder) + "/Größe.nii.gz".encode(charmap)
    shutil.copy(work / "Größe.nii.gz", image)
    ended = subprocess.run(
        [sys.executable, "-c", CALL, "segment", image, "--model", work / "results", "--out", folder / "out"],
        env=os.environ | {"LOCPATH": str(locales), "LC_ALL": language, "PYTHONUTF8": "0"},
        capture_output=True,
        timeout=600,
    )
    assert ended.returncode == command.REVIEW, ended.stderr
    table = pd.read_csv(folder / "out" / "results.csv", encoding="utf-8")
    masks = {os.fsencode(path.name).decode(charmap): path.read_bytes() for path in (folder / "out" / "masks").iterdir()}
    return masks, table.drop(columns=["seconds", "image", "mask"]).to_csv()


@pytest.fixture(scope="module")
def in_english(work, tmp_path_factory):
    return results_in(work, tmp_path_factory.mktemp("english"), "C.UTF-8", "")


@pytest.mark.parametrize("language", ["tr_TR.UTF-8", "de_DE.ISO-8859-1"])
def test_language_changes_nothing(work, in_english, tmp_path, language):
    """German has a comma in numbers, Turkish another small letter to I, and some systems are not in UTF-8."""
    name, charmap = language.split(".")
    made = ["localedef", "--no-archive", "-i", name, "-f", charmap, tmp_path / language]
    if not shutil.which("localedef") or subprocess.run(made, capture_output=True).returncode:
        pytest.skip("no sources of locales")
    masks, table = results_in(work, tmp_path, language, tmp_path)
    assert set(masks) == {"Größe.nii.gz"}
    assert (masks, table) == in_english
