"""A model from Python: the same mask of every kind of image."""

import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

import cardioseg
from cardioseg import command
from cardioseg.core.errors import InputError
from cardioseg.phantoms import heart
from trained import write_results


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A patient's image, and the mask that the command writes of it."""
    folder = tmp_path_factory.mktemp("patient")
    heart.write_patient(folder, 60, seed=1, matrix_scale=0.25, modalities=["LGE"])
    shutil.copy(heart.release_files(folder, 60)["LGE"], folder / "lge.nii.gz")
    write_results(folder / "results", nib.load(folder / "lge.nii.gz").affine)
    command.main(
        ["segment", str(folder / "lge.nii.gz"), "--model", str(folder / "results"), "--out", str(folder / "out")]
    )
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return cardioseg.load_model(folder / "results", device="cpu")


@pytest.fixture(scope="module")
def expected(folder):
    return nib.load(folder / "out" / "masks" / "lge.nii.gz")


def test_path_and_nibabel_image_give_the_mask_of_the_command(model, folder, expected):
    path = folder / "lge.nii.gz"
    for image in (path, str(path), nib.load(path)):
        found = model.segment(image)
        np.testing.assert_array_equal(found.mask.get_fdata(), expected.get_fdata())
        np.testing.assert_array_equal(found.mask.affine, expected.affine)
        assert found.labels.shape == found.entropy.shape == expected.shape[::-1]
        assert found.assessment.status == "review"  # networks that learnt nothing
        assert found.assessment.numbers["LV_volume_ml"] >= 0


def test_image_of_nibabel_stays_as_it_is(model, folder):
    image = nib.load(folder / "lge.nii.gz")
    model.segment(image)
    assert image.get_filename() == str(folder / "lge.nii.gz")


def test_simpleitk_image_gives_a_mask_in_its_geometry(model, folder, expected):
    image = sitk.ReadImage(str(folder / "lge.nii.gz"))
    mask = model.segment(image).mask
    # SimpleITK rounds directions in its own way, which untrained networks, undecided between structures, may show.
    assert (sitk.GetArrayFromImage(mask) != np.asarray(expected.dataobj).T).mean() < 0.005
    assert mask.GetDirection() == image.GetDirection()
    assert mask.GetOrigin() == image.GetOrigin()


def test_simpleitk_image_of_one_frame_gives_a_mask_of_one_frame(model, folder):
    image = sitk.ReadImage(str(folder / "lge.nii.gz"))
    mask = model.segment(sitk.JoinSeries(image)).mask
    assert mask.GetSize() == (*image.GetSize(), 1)
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(mask[..., 0]), sitk.GetArrayFromImage(model.segment(image).mask)
    )


def test_array_is_segmented_as_an_image_without_directions(model, folder):
    image = nib.load(folder / "lge.nii.gz")
    array, spacing = np.asarray(image.dataobj).T, image.header.get_zooms()[::-1]
    found = model.segment(array, spacing)
    bare = nib.Nifti1Image(image.dataobj, None)
    bare.header.set_zooms(image.header.get_zooms())
    np.testing.assert_array_equal(found.mask, np.asarray(model.segment(bare).mask.dataobj).T)
    assert found.mask.shape == array.shape
    assert set(np.unique(found.mask)) <= {0, *model.structures.values()}
    voxel_ml = np.prod(spacing) / 1000
    volume = found.assessment.numbers["LV_volume_ml"]
    assert volume == pytest.approx(np.count_nonzero(found.mask == model.structures["LV"]) * voxel_ml)


@pytest.mark.parametrize(
    ("image", "spacing", "message"),
    [
        (np.zeros((4, 40, 40)), None, "expected a spacing"),
        (np.zeros((4, 40, 40)), (8, 1, 1), "^the image: "),
        (np.zeros((4, 40, 40)), (8, 1), "three lengths in mm"),
        (np.zeros((4, 40, 40)), (8, 1, -1), "three lengths in mm"),
        (np.zeros((40, 40)), (8, 1, 1), "expected numbers \\(z, y, x\\)"),
        (np.zeros((50, 40, 48)), (2, 2, 2), "more slices than rows or columns; expected fewer"),
        (np.zeros((48, 40, 9)), (1, 1, 8), "Put the axis of the slices first"),
        ("nowhere.nii", None, "nowhere.nii: no such file"),
        ("nowhere.nii", (8, 1, 1), "with nothing else"),
        (7, None, "of type int cannot be used"),
    ],
)
def test_what_cannot_be_used_gets_a_sentence(model, image, spacing, message):
    with pytest.raises(InputError, match=message):
        model.segment(image, spacing)


def test_example_of_the_documentation_runs(folder, monkeypatch):
    """The lines of docs/new_patients.md, where the patient's files are."""
    monkeypatch.chdir(folder)
    shutil.copy("lge.nii.gz", "patient60_LGE.nii.gz")
    page = (Path(__file__).parents[2] / "docs" / "new_patients.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict = {}
    exec(example, names)
    assert names["found"].assessment.status == "review"
    assert nib.load("patient60_mask.nii.gz").shape == nib.load("lge.nii.gz").shape


def test_import_of_the_package_alone_does_not_load_the_model_code():
    assert "load_model" not in vars(cardioseg)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        cardioseg.nonsense  # noqa: B018
