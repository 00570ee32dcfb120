"""Scar and segments as `cardioseg segment` writes them, with masks that are known."""

import errno
import json
import os
import shutil
import threading

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

import rings
from cardioseg.cohort.orientation import Decision
from cardioseg.core import files, volumes
from cardioseg.core.turns import AS_STORED
from cardioseg.model import batch, image_files, segmentation
from cardioseg.model.segmentation import Segmentation
from cardioseg.model.trained_model import TrainedModel
from cardioseg.preprocessing.localisation import Location

HEART = rings.heart((60, 120), 0.6)
CODES = {"LV": 500, "MYO": 200, "RV": 600}


def model(known_ml=(50.0, 400.0)):
    cohort = {"volumes_ml": dict.fromkeys(CODES, known_ml)}
    return TrainedModel(rings.SETTINGS, CODES, {}, torch.nn.Identity(), {}, cohort, {}, {}, "")


@pytest.fixture
def labels():
    """The mask that the model finds: the true one, but for the right ventricle at the edge of the image."""
    return np.pad(HEART.mask.array[:, 1:-1, 1:-1].astype(np.uint8), ((0, 0), (1, 1), (1, 1)))


@pytest.fixture
def image(labels, tmp_path, monkeypatch):
    """The file of an image, in which the model finds that mask."""
    members = np.zeros_like(labels)[None]  # one member, which reaches no edge and disagrees with nobody
    entropy, as_stored = np.zeros(labels.shape, np.float32), Decision(AS_STORED, "")
    found = Segmentation(labels, entropy, members, Location((0, 0), True), as_stored, None)
    monkeypatch.setattr(segmentation, "segment", lambda *_: found)
    path = tmp_path / "heart.nii.gz"
    volumes.write(path, HEART.image.array.astype(np.float32), HEART.image.affine)
    return path


def segment(image, out, **options):
    about = {"model": "m", "model_sha256": "0"}
    return batch.segment({"heart": image}, model(**options), torch.device("cpu"), out, about)


def test_numbers_masks_and_pictures(image, tmp_path, capsys):
    out = tmp_path / "out"
    assert segment(image, out) == ["ok"]
    row = pd.read_csv(out / "results.csv").iloc[0]
    true_g = 1.05 * HEART.scar.sum() * np.prod(rings.SPACING) / 1000
    assert row["scar_fwhm_mass_g"] == pytest.approx(true_g, rel=0.02)
    assert row["scar_method"] == "fwhm"
    assert row["scar_fwhm_threshold"] == pytest.approx(550, abs=10)
    stored = nib.load(out / "scar" / "heart.nii.gz")
    np.testing.assert_allclose(stored.affine, HEART.image.affine, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(stored.dataobj).T == 1, HEART.scar)
    table = pd.read_csv(out / "segments.csv")
    assert list(table["segment"]) == list(range(1, 18))
    assert set(table["name"]) == {"heart"}
    assert table["segment_name"][0] == "basal anterior"
    assert table["scar_percent"].idxmax() == 0
    for path in ("scar/heart.png", "segments/heart.png", "segments/heart.svg"):
        assert (out / path).stat().st_size > 0
    assert f"scar {true_g:.1f} g (fwhm)" in capsys.readouterr().out
    assert json.loads((out / "results.json").read_text())["images"][0]["segments"][16]["note"] == ""


def test_scar_is_withheld_where_the_outline_is_doubtful(image, tmp_path, capsys):
    out = tmp_path / "out"
    assert segment(image, out, known_ml=(1000.0, 2000.0)) == ["review"]
    row = pd.read_csv(out / "results.csv").iloc[0]
    assert "MYO" in row["scar_notes"]
    assert "scar_fwhm_mass_g" not in row
    assert not (out / "scar").exists()
    assert pd.read_csv(out / "segments.csv")["scar_percent"].isna().all()
    assert "no scar measured: " in capsys.readouterr().out
    assert "no scar measured: " in (out / "report.html").read_text("utf-8")


def test_open_wall_is_for_a_person_to_look_at(labels, image, tmp_path, capsys):
    labels[4:7][(labels[4:7] == rings.MYO) & (abs(HEART.angle[4:7] - 90) < 20)] = rings.LV
    out = tmp_path / "out"
    assert segment(image, out) == ["review"]
    row = pd.read_csv(out / "results.csv").iloc[0]
    assert row["reasons"] == "the wall is missing over 30 degrees or more in 3 slices between base and apex"
    assert row["scar_fwhm_mass_g"] > 0
    assert "  scar: the wall is missing" in capsys.readouterr().out


def test_scar_at_the_base_alone_is_for_a_person_to_look_at(image, tmp_path, capsys):
    basal = rings.heart((60, 150), 0.6, scarred=(9, 10))
    volumes.write(image, basal.image.array.astype(np.float32), basal.image.affine)
    out = tmp_path / "out"
    assert segment(image, out) == ["review"]
    row = pd.read_csv(out / "results.csv").iloc[0]
    assert row["reasons"] == row["scar_notes"]
    assert row["reasons"].endswith("are in slice 10 alone, at the base: they may be blood that the mask takes for wall")
    assert row["scar_fwhm_mass_g"] > 0
    assert capsys.readouterr().out.count("at the base") == 1
    page = (out / "report.html").read_text("utf-8")
    assert "scar:" not in page and "at the base" in page


def test_bad_images_among_good_ones_get_a_sentence(labels, image, tmp_path, capsys):
    good = HEART.image.array.astype(np.float32)
    folder = tmp_path / "many"
    images = {
        "constant_myocardium": np.where(labels == rings.MYO, 100, good),
        "negative": good - 5000,
        "not_a_number": np.full_like(good, np.nan),
        "z_good": good,
    }
    for name, array in images.items():
        volumes.write(folder / f"{name}.nii.gz", array, HEART.image.affine)
    (folder / "damaged.nii.gz").write_bytes(b"no image")
    named = {name: folder / f"{name}.nii.gz" for name in sorted([*images, "damaged"])}
    out = tmp_path / "out"
    about = {"model": "m", "model_sha256": "0"}
    statuses = batch.segment(named, model(), torch.device("cpu"), out, about)
    assert dict(zip(named, statuses, strict=True)) == {
        **dict.fromkeys(["constant_myocardium", "negative", "z_good"], "ok"),
        **dict.fromkeys(["damaged", "not_a_number"], "failed"),
    }
    rows = pd.read_csv(out / "results.csv").set_index("name")
    assert rows["scar_notes"]["constant_myocardium"] == "every voxel of the myocardium is 100"
    assert rows["scar_fwhm_mass_g"]["negative"] == pytest.approx(rows["scar_fwhm_mass_g"]["z_good"])
    assert rows["scar_fwhm_mass_g"]["z_good"] > 0
    assert "Traceback" not in "".join(capsys.readouterr())
    assert not (out / "errors").exists()


def test_an_image_is_read_and_another_written_while_the_networks_work(image, tmp_path, monkeypatch):
    """The networks take the second image only once the third is read and the first one's slices are drawn."""
    found, read, draw = segmentation.segment(), batch.inputs.read, image_files.sheet.figure
    third_is_read, first_is_drawn, calls = threading.Event(), threading.Event(), []

    def reading(path):
        volume = read(path)
        if path.name == "2.nii.gz":
            third_is_read.set()
        return volume

    def drawing(*arguments, **options):
        figure = draw(*arguments, **options)
        first_is_drawn.set()
        return figure

    def networks(*_):
        calls.append(third_is_read.is_set())
        if len(calls) == 2:
            assert third_is_read.wait(60)
            assert first_is_drawn.wait(60)
        return found

    monkeypatch.setattr(segmentation, "segment", networks)
    monkeypatch.setattr(batch.inputs, "read", reading)
    monkeypatch.setattr(image_files.sheet, "figure", drawing)
    named = {name: image.with_name(f"{name}.nii.gz") for name in "012"}
    for path in named.values():
        shutil.copy(image, path)
    about = {"model": "m", "model_sha256": "0"}
    assert batch.segment(named, model(), torch.device("cpu"), tmp_path / "out", about) == ["ok"] * 3
    assert calls[0] is False
    assert list(pd.read_csv(tmp_path / "out" / "results.csv")["name"].astype(str)) == ["0", "1", "2"]
    assert len(list((tmp_path / "out" / "slices").iterdir())) == 3


def test_results_of_an_image_are_kept_where_the_user_interrupts_the_next(image, tmp_path, monkeypatch):
    found, calls = segmentation.segment(), []

    def networks(*_):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(segmentation, "segment", networks)
    named = {"a": image, "b": shutil.copy(image, tmp_path / "b.nii.gz")}
    about = {"model": "m", "model_sha256": "0"}
    with pytest.raises(KeyboardInterrupt):
        batch.segment(named, model(), torch.device("cpu"), tmp_path / "out", about)
    assert json.loads((tmp_path / "out" / "results.json").read_text())["images"][0]["status"] == "ok"
    assert ">a<" in (tmp_path / "out" / "report.html").read_text()


def test_image_whose_entry_cannot_be_written_leaves_no_files(image, tmp_path, monkeypatch):
    """Files without an entry would count as somebody else's, and the next call would choose another name."""
    write = files.write_text

    def full(path, text):
        if path.name == "results.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, text)

    monkeypatch.setattr(files, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        segment(image, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*/*"))
    monkeypatch.setattr(files, "write_text", write)
    assert segment(image, tmp_path / "out") == ["ok"]
    assert (tmp_path / "out" / "masks" / "heart.nii.gz").is_file()


@pytest.mark.parametrize(("structure", "withheld"), [(rings.MYO, True), (rings.RV, False)])
def test_heart_at_the_edge_of_the_image_is_for_a_person_to_look_at(labels, image, tmp_path, structure, withheld):
    labels[5, 0, 40] = structure
    assert segment(image, tmp_path / "out") == ["review"]
    row = pd.read_csv(tmp_path / "out" / "results.csv").iloc[0]
    assert "reaches the edge of the image: a part of it may lie outside" in row["reasons"]
    assert ("scar_fwhm_mass_g" not in row) is withheld
