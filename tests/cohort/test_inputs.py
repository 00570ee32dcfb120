import importlib
import os
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

import cardioseg.cohort
import dicom_files
from bad_input import without_rights
from cardioseg.cohort import inputs
from cardioseg.core import volumes
from cardioseg.core.errors import InputError


@pytest.fixture
def folder(tmp_path):
    for name in ("one/lge.nii.gz", "one/._lge.nii.gz", "one/notes.txt", "two/deep/lge.nii", "other.nii.gz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_images_are_named_by_their_files(folder):
    found = inputs.find([folder / "one" / "lge.nii.gz", folder / "other.nii.gz"])
    assert found == {"lge": folder / "one" / "lge.nii.gz", "other": folder / "other.nii.gz"}


def test_images_with_the_same_file_name_are_named_by_their_folders_too(folder):
    assert list(inputs.find([folder])) == ["one/lge", "other", "two/deep/lge"]


def test_image_given_twice_is_found_once(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert inputs.find(["one", "one/lge.nii.gz", folder / "one"]) == {"lge": folder / "one" / "lge.nii.gz"}


def test_image_that_is_there_compressed_and_uncompressed_is_refused(folder):
    (folder / "other.nii").touch()
    with pytest.raises(
        InputError, match=r"other\.nii and .*other\.nii\.gz: their results would have the same name, other"
    ):
        inputs.find([folder])


def test_pipe_is_passed_over(folder):
    os.mkfifo(folder / "pipe")
    assert "pipe" not in inputs.find([folder])


def test_missing_file_and_empty_folder_are_refused(folder):
    with pytest.raises(InputError, match="three: no such file or folder"):
        inputs.find([folder / "three"])
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="no image in this folder"):
        inputs.find([folder / "one", folder / "empty"])


def test_mask_and_map_are_written_in_the_geometry_of_the_image(tmp_path):
    """The slices lie along the file's second axis, and the affine is oblique."""
    stored = np.random.default_rng(0).integers(0, 99, (40, 6, 36)).astype(np.int16)
    affine = np.array([[0, -6.4, 0.9, 9], [1.2, 0, 0, 3], [0, 4.8, 1.2, 1], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(stored, affine), tmp_path / "lge.nii")
    image = inputs.read(tmp_path / "lge.nii")
    bright = image.volume.array > 50
    mask = inputs.write_labels(tmp_path / "masks" / "a.b", bright.astype(np.uint8), {"LV": 500}, image)
    shown = inputs.write_map(tmp_path / "maps" / "a.b", image.volume.array / 4, image)
    assert (mask.name, shown.name) == ("a.b.nii.gz", "a.b.nii.gz")
    for path, expected in ((mask, 500 * (stored > 50)), (shown, stored / 4)):
        written = nib.load(path)
        np.testing.assert_array_equal(written.get_fdata(), expected)
        np.testing.assert_allclose(written.affine, affine, atol=1e-6)


def test_no_image_is_skipped(tmp_path):
    """Files behind links, with suffixes in capitals, or of formats that cannot be read are found too."""
    for name in ("a/one.NII.GZ", "a/two.nii", "a/three.nrrd", "a/four.hdr", "linked/five.Nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "linked")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "dangling.nii.gz").symlink_to(tmp_path / "nowhere")
    found = inputs.find([tmp_path / "a"])
    assert list(found) == ["dangling", "four.hdr", "five", "one", "three.nrrd", "two"]
    for name in ("dangling", "four.hdr", "three.nrrd"):
        with pytest.raises(InputError):
            inputs.read(found[name])


def test_packed_images_beside_others_are_named(folder):
    names = ["p61.nii.bz2", "p63.ZIP", "p64.gz"]
    for name in names:
        (folder / "one" / name).touch()
    found = inputs.find([folder / "one"])
    assert list(found) == ["lge", *names]
    for name in names:
        with pytest.raises(InputError, match="Unpack it if it holds an image"):
            inputs.read(found[name])


def test_packed_file_beside_a_dicom_series_is_passed_over(tmp_path):
    phantom_series(tmp_path)
    (tmp_path / "download.zip").touch()
    assert list(inputs.find([tmp_path]).values()) == [tmp_path]


def test_link_to_itself_is_an_image_that_cannot_be_read(folder):
    (folder / "loop.nii.gz").symlink_to("loop.nii.gz")
    found = inputs.find([folder], folder / "out")
    assert "loop" in found
    with pytest.raises(InputError, match=r"loop\.nii\.gz: no such file"):
        inputs.read(found["loop"])


def test_results_of_another_call_are_no_images(folder, capsys):
    for name in ("masks/two/lge.nii.gz", "uncertainty/other.nii.gz", "scar/other.nii.gz", "beside.nii.gz"):
        (folder / "two" / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "two" / "out" / name).touch()
    (folder / "two" / "out" / "results.json").write_text('{"model_sha256": "1", "images": []}')
    (folder / "one" / "results.json").write_text('["of another program"]')
    assert list(inputs.find([folder], folder / "new")) == ["one/lge", "other", "two/deep/lge", "two/out/beside"]
    said = f"{folder / 'two' / 'out'}: holds results of cardioseg segment, which are passed over\n"
    assert capsys.readouterr().err == said
    # What is named plainly is an image, as for `cardioseg evaluate`.
    assert len(inputs.find([folder / "two" / "out" / "masks"])) == 1
    inputs.find([folder], folder / "two" / "out")
    assert capsys.readouterr().err == ""


def test_folder_that_cannot_be_read_is_named():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "lge.nii.gz").touch()
        (folder / "deep").mkdir()
        (folder / "deep").chmod(0)
        importlib.import_module("cardioseg.cohort.dicom")  # its files may be out of reach without rights
        with without_rights():
            found = inputs.find([folder])
            assert list(found) == ["deep", "lge"]
            with pytest.raises(InputError, match=r"deep: the folder cannot be read \(Permission denied\)"):
                inputs.read(found["deep"])


def test_folder_may_be_named_like_a_file(folder):
    (folder / "three.nii.gz").mkdir()
    (folder / "three.nii.gz" / "lge.nii.gz").touch()
    assert "three.nii.gz/lge" in inputs.find([folder])
    assert inputs.find([folder / "three.nii.gz"]) == {"lge": folder / "three.nii.gz" / "lge.nii.gz"}


# DICOM


def test_files_of_a_series_are_one_image(tmp_path):
    *_, files = phantom_series(tmp_path / "a")
    *_, others = phantom_series(tmp_path / "b")
    for path in others[1:]:
        path.rename(path.with_name(f"{path.name}.dcm"))
    found = inputs.find([*files, *sorted((tmp_path / "b").iterdir())])
    assert [path.parent.name for path in found.values()] == ["a", "b"]
    for path in found.values():
        assert inputs.read(path).volume.array.shape == (5, 40, 44)


def test_folder_and_files_in_it_are_one_image(tmp_path):
    *_, files = phantom_series(tmp_path / "a" / "series")
    assert inputs.find([files[2], tmp_path / "a", files[0]]) == {"a": tmp_path / "a"}


def test_file_named_beside_its_folder_of_several_series_is_an_image(tmp_path):
    """The folder fails by itself; it must not take away what was named plainly."""
    *_, files = phantom_series(tmp_path / "a")
    *_, others = phantom_series(tmp_path / "a" / "other")
    for path in others:
        header = pydicom.dcmread(path)
        header.SeriesInstanceUID = "1.2.3.7"
        header.save_as(path)
    found = inputs.find([tmp_path / "a", files[1], files[2]])
    assert list(found.values()) == [tmp_path / "a", files[1]]
    assert inputs.read(found[files[1].name]).volume.array.shape == (5, 40, 44)


def test_breath_holds_named_file_by_file_are_one_image(tmp_path):
    *_, files = phantom_series(tmp_path / "a")
    for number, path in enumerate(files):
        header = pydicom.dcmread(path)
        header.SeriesInstanceUID = f"1.2.3.{70 + number}"
        header.save_as(path)
    assert inputs.find(files) == {"a": tmp_path / "a"}
    assert len(inputs.find(files[1:])) == 4


def test_series_without_a_frame_of_reference_gets_no_dicom_segmentation(tmp_path):
    *_, files = phantom_series(tmp_path / "a")
    for path in files:
        header = pydicom.dcmread(path)
        del header.FrameOfReferenceUID
        header.save_as(path)
    image = inputs.read(tmp_path / "a")
    (why,) = inputs.write_for_archive(tmp_path, "mask", np.ones((5, 40, 44), np.uint8), COLOURS, image)
    assert why.startswith("no DICOM segmentation and no structure set: ")
    assert "FrameOfReferenceUID" in why
    assert not [*tmp_path.glob("dicom/*"), *tmp_path.glob("rtstruct/*")]


COLOURS = {"LV": (232, 96, 28)}


def phantom_series(folder):
    stored = np.random.default_rng(0).integers(0, 999, (5, 40, 44)).astype(np.uint16)
    affine = np.array([[1.2, 0, 0, 9], [0, 0.96, -4.8, 3], [0, 0.72, 6.4, 1], [0, 0, 0, 1]])
    return stored, affine, dicom_files.write_series(folder, stored, affine)


def test_folder_of_a_dicom_series_is_one_image(tmp_path):
    stored, affine, files = phantom_series(tmp_path / "patient.7" / "deep")
    (tmp_path / "patient.7" / "notes.txt").write_text("none of it")
    assert inputs.find([tmp_path / "patient.7"]) == {"patient.7": tmp_path / "patient.7"}
    assert inputs.find([files[1]]) == {files[1].name: files[1]}
    image = inputs.read(tmp_path / "patient.7")
    np.testing.assert_array_equal(image.volume.array, stored)
    mask = inputs.write_labels(tmp_path / "mask", np.ones_like(stored, np.uint8), {"LV": 500}, image)
    shown = inputs.write_map(tmp_path / "map", image.volume.array / 4, image)
    for path, expected in ((mask, np.full_like(stored, 500)), (shown, stored / 4)):
        written = nib.load(path)
        np.testing.assert_array_equal(written.get_fdata().T, expected)
        np.testing.assert_allclose(written.affine, affine, atol=1e-4)
    inputs.write_for_archive(tmp_path, "mask", np.ones_like(stored, np.uint8), COLOURS, image)
    for kind, modality in (("dicom", "SEG"), ("rtstruct", "RTSTRUCT")):
        assert pydicom.dcmread(tmp_path / kind / "mask.dcm").Modality == modality


def test_folder_with_nifti_and_dicom_is_refused(tmp_path):
    phantom_series(tmp_path / "both" / "series")
    (tmp_path / "both" / "lge.nii.gz").touch()
    with pytest.raises(InputError, match=r"holds NIfTI \(lge\.nii\.gz\) and DICOM \(series/.*Name the NIfTI files"):
        inputs.find([tmp_path / "both"])
    assert list(inputs.find([tmp_path / "both" / "lge.nii.gz", tmp_path / "both" / "series"])) == ["lge", "series"]
    # Results in the same folder do not count.
    assert list(inputs.find([tmp_path / "both"], out=tmp_path / "both" / "series")) == ["lge"]


def test_nifti_image_gets_no_dicom_segmentation(folder, tmp_path):
    image = inputs.Image(folder / "other.nii.gz", volumes.Volume(np.ones((4, 40, 44)), np.eye(4)))
    inputs.write_for_archive(tmp_path, "mask", np.ones((4, 40, 44), np.uint8), COLOURS, image)
    assert not [*tmp_path.glob("dicom/*"), *tmp_path.glob("rtstruct/*")]


@pytest.mark.parametrize("package", ["pydicom", "highdicom"])
def test_dicom_without_its_packages_is_refused(tmp_path, monkeypatch, package):
    phantom_series(tmp_path / "patient")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "cardioseg.cohort.dicom", raising=False)
    monkeypatch.delattr(cardioseg.cohort, "dicom", raising=False)
    with pytest.raises(InputError, match=f"patient: is DICOM, for which {package} is missing; install pydicom"):
        inputs.read(tmp_path / "patient")
