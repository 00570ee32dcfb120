"""`cardioseg segment --source`: the source image of the same examination beside each image."""

import json
import shutil
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from cardioseg import command
from cardioseg.phantoms import heart
from cardioseg.registration import elastix
from trained import write_results


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Folders LGE and bSSFP with the images of two patients, with the same file names."""
    folder = tmp_path_factory.mktemp("cohort")
    for modality in ("LGE", "bSSFP"):
        (folder / modality).mkdir()
    for patient in (60, 61):
        heart.write_patient(folder / "release", patient, seed=1, matrix_scale=0.25)
        for modality in ("LGE", "bSSFP"):
            path = heart.release_files(folder / "release", patient)[modality]
            shutil.copy(path, folder / modality / f"{patient}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory, cohort):
    affine = nib.load(cohort / "LGE" / "60.nii.gz").affine
    return write_results(tmp_path_factory.mktemp("results"), affine, with_source=True)


def segment(results, out, images, sources):
    arguments = ["segment", *map(str, images), "--model", str(results), "--out", str(out)]
    return command.main([*arguments, *(["--source", *map(str, sources)] if sources else [])])


@pytest.mark.slow
def test_source_image_changes_the_mask_and_is_named_in_the_table(cohort, results, tmp_path):
    images, sources = ([cohort / modality] for modality in ("LGE", "bSSFP"))
    assert segment(results, tmp_path / "with", images, sources) == command.REVIEW
    assert segment(results, tmp_path / "without", images, []) == command.REVIEW
    table = pd.read_csv(tmp_path / "with" / "results.csv", dtype={"name": str}).set_index("name")
    for name in ("60", "61"):
        assert table.loc[name, "source"] == str(cohort / "bSSFP" / f"{name}.nii.gz")
        assert 0 <= table.loc[name, "source_agreement"] <= 1
        masks = [nib.load(tmp_path / out / "masks" / f"{name}.nii.gz") for out in ("with", "without")]
        assert (np.asarray(masks[0].dataobj) != np.asarray(masks[1].dataobj)).any()
    assert "source" not in pd.read_csv(tmp_path / "without" / "results.csv").columns


def test_source_image_of_another_place_is_not_used_and_the_user_is_told(cohort, results, tmp_path, capsys):
    image = nib.load(cohort / "bSSFP" / "60.nii.gz")
    moved = image.affine + np.pad([[900.0]], ((0, 3), (3, 0)))
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), moved), tmp_path / "moved.nii.gz")
    lge = [cohort / "LGE" / "60.nii.gz"]
    assert segment(results, tmp_path / "with", lge, [tmp_path / "moved.nii.gz"]) == command.REVIEW
    assert "the source image is not used: the labels lie outside" in capsys.readouterr().out
    segment(results, tmp_path / "without", lge, [])
    masks = [(tmp_path / out / "masks" / "60.nii.gz").read_bytes() for out in ("with", "without")]
    assert masks[0] == masks[1]


def test_what_is_odd_about_a_source_image_is_noted(cohort, results, tmp_path):
    image = nib.load(cohort / "bSSFP" / "60.nii.gz")
    image.set_qform(image.affine + np.pad([[5.0]], ((0, 3), (3, 0))), 1)
    nib.save(image, tmp_path / "odd.nii.gz")
    segment(results, tmp_path / "out", [cohort / "LGE" / "60.nii.gz"], [tmp_path / "odd.nii.gz"])
    (entry,) = json.loads((tmp_path / "out" / "results.json").read_text())["images"]
    (note,) = [note for note in entry["notes"] if "qform" in note]
    assert note.startswith("source image: sform and qform disagree")


def test_unreadable_source_image_fails_only_its_own_image(cohort, results, tmp_path, capsys):
    (tmp_path / "c0").mkdir()
    (tmp_path / "c0" / "60.nii.gz").write_bytes(b"no image")
    shutil.copy(cohort / "bSSFP" / "61.nii.gz", tmp_path / "c0")
    assert segment(results, tmp_path / "out", [cohort / "LGE"], [tmp_path / "c0"]) == command.FAILED
    table = pd.read_csv(tmp_path / "out" / "results.csv", dtype={"name": str}).set_index("name")
    assert list(table["status"]) == ["failed", "review"]
    assert "c0/60.nii.gz: cannot be read as NIfTI" in table.loc["60", "reasons"]


def refused(results, tmp_path, capsys, images, sources):
    assert segment(results, tmp_path / "out", images, sources) == command.FAILED
    assert not (tmp_path / "out").exists()
    return capsys.readouterr().err


def test_sources_that_cannot_be_paired_with_the_images_are_refused(cohort, results, tmp_path, capsys):
    images, source = [cohort / "LGE"], cohort / "bSSFP" / "60.nii.gz"
    assert "1 for 2 images; expected one source for each image" in refused(results, tmp_path, capsys, images, [source])
    assert "no such file" in refused(results, tmp_path, capsys, images, [tmp_path / "nowhere.nii"])


def test_source_is_refused_by_a_model_that_takes_none(cohort, tmp_path, capsys):
    plain = write_results(tmp_path / "results", nib.load(cohort / "LGE" / "60.nii.gz").affine)
    told = refused(plain, tmp_path, capsys, [cohort / "LGE"], [cohort / "bSSFP"])
    assert "this model cannot use bSSFP images of new patients" in told
    assert "`fusion.labels` has `predicted`" in told


def test_source_is_refused_without_elastix(cohort, results, tmp_path, capsys, monkeypatch):
    elastix._itk.cache_clear()
    monkeypatch.setitem(sys.modules, "itk", None)
    told = refused(results, tmp_path, capsys, [cohort / "LGE"], [cohort / "bSSFP"])
    assert "install the package itk-elastix" in told
