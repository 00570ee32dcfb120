"""The command `cardioseg segment` on images of any geometry, in NIfTI and in DICOM, with networks never trained."""

import highdicom
import nibabel as nib
import numpy as np
import pytest
import SimpleITK

import dicom_files
from cardioseg import command
from cardioseg.core import volumes
from cardioseg.phantoms import heart
from trained import write_results

GEOMETRIES = ("sform", "qform", "permuted", "flipped", "nifti2")


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patient")
    heart.write_patient(folder, 60, seed=1, matrix_scale=0.25)
    image = nib.load(heart.release_files(folder, 60)["LGE"]).slicer[..., 6:12]
    nib.save(image, folder / "lge.nii.gz")
    return folder / "lge.nii.gz"


@pytest.fixture(scope="module")
def results(tmp_path_factory, patient):
    return write_results(tmp_path_factory.mktemp("results"), nib.load(patient).affine)


def segment(results, out, *images):
    assert command.main(["segment", *map(str, images), "--model", str(results), "--out", str(out)]) == command.REVIEW


@pytest.fixture(scope="module")
def segmented(tmp_path_factory, results, patient):
    """Folders of the same oblique image in several geometries, and of the command's results."""
    raw, out = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("out")
    image = nib.load(patient)
    matrix = image.affine + np.pad([[0.1234567], [0.7654321], [0.0123456]], ((0, 1), (3, 0)))
    plain = nib.Nifti1Image(np.asarray(image.dataobj), matrix)
    for name in GEOMETRIES:
        stored = plain
        if name == "permuted":
            stored = plain.as_reoriented(np.array([[1, 1], [2, -1], [0, 1]]))
        elif name == "flipped":
            stored = plain.as_reoriented(np.array([[0, -1], [1, 1], [2, 1]]))
        elif name == "nifti2":
            stored = nib.Nifti2Image(plain.dataobj, matrix)
        of_image = stored.affine
        stored = type(stored)(stored.dataobj, None)
        stored.set_qform(of_image, code=0 if name == "sform" else 1)
        stored.set_sform(None if name == "qform" else of_image, code=0 if name == "qform" else 2)
        nib.save(stored, raw / f"{name}.nii.gz")
    segment(results, out, raw)
    return raw, out


@pytest.mark.parametrize("kind", ["masks", "uncertainty"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_mask_and_image_open_aligned(segmented, name, kind):
    """Both libraries see origin, spacing and direction of what is written and of the raw image equal to 1e-6."""
    raw_path, path = (folder / f"{name}.nii.gz" for folder in (segmented[0], segmented[1] / kind))
    raw, written = nib.load(raw_path), nib.load(path)
    assert written.shape == raw.shape
    np.testing.assert_allclose(written.affine, raw.affine, rtol=0, atol=1e-6)
    if name == "nifti2":  # which SimpleITK does not read
        return
    raw, written = SimpleITK.ReadImage(str(raw_path)), SimpleITK.ReadImage(str(path))
    assert written.GetSize() == raw.GetSize()
    for get in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(written, get)(), getattr(raw, get)(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["permuted", "flipped"])
def test_mask_does_not_depend_on_how_the_axes_are_stored(segmented, name):
    expected, mask = (nib.load(segmented[1] / "masks" / f"{which}.nii.gz") for which in ("sform", name))
    turn = nib.io_orientation(np.linalg.inv(expected.affine) @ mask.affine)
    assert np.mean(np.asarray(mask.as_reoriented(turn).dataobj) == expected.dataobj) > 0.999


@pytest.fixture(scope="module")
def from_dicom(tmp_path_factory, results, patient):
    """The command's results for a patient's oblique NIfTI image, and for DICOM with turned axes."""
    folder = tmp_path_factory.mktemp("from_dicom")
    image = volumes.read_image(patient)
    array, affine = dicom_files.permuted(image.array, image.affine, transpose=True, flip_y=False, flip_x=True)
    array, affine = dicom_files.right_handed(array, affine)
    stored = np.rint(array).astype(np.uint16) * 3
    dicom_files.write_series(folder / "series" / "a", stored, affine, slope=1 / 3)
    segment(results, folder / "out", patient, folder / "series")
    return folder


def test_dicom_gives_the_mask_of_nifti(from_dicom):
    nifti = nib.load(from_dicom / "out" / "masks" / "lge.nii.gz")
    mask = nib.load(from_dicom / "out" / "masks" / "series.nii.gz")
    turn = nib.io_orientation(np.linalg.inv(nifti.affine) @ mask.affine)
    back = mask.as_reoriented(turn)
    np.testing.assert_allclose(back.affine, nifti.affine, atol=1e-4)
    codes, expected = np.asarray(back.dataobj), np.asarray(nifti.dataobj)
    assert len(np.unique(expected)) > 2
    assert np.mean(codes == expected) > 0.999


ARCHIVE = ("dicom", "rtstruct")


def test_archive_holds_the_mask(from_dicom):
    for kind in ARCHIVE:
        assert [file.name for file in (from_dicom / "out" / kind).iterdir()] == ["series.dcm"]
    mask = nib.load(from_dicom / "out" / "masks" / "series.nii.gz")
    segmentation = highdicom.seg.segread(from_dicom / "out" / "dicom" / "series.dcm").get_volume(combine_segments=True)
    codes = np.array((0, 500, 200, 600))[segmentation.array]
    to_index = np.linalg.inv(mask.affine) @ np.diag((-1, -1, 1, 1)) @ segmentation.affine
    index = to_index @ np.pad(np.indices(codes.shape).reshape(3, -1), ((0, 1), (0, 0)), constant_values=1)
    np.testing.assert_allclose(index, np.rint(index), atol=1e-3)
    x, y, z, _ = np.rint(index).astype(int)
    np.testing.assert_array_equal(np.asarray(mask.dataobj)[x, y, z], codes.ravel())


def test_nothing_of_the_patient_is_written_but_to_the_archive(from_dicom):
    written = [file for file in (from_dicom / "out").rglob("*") if file.is_file() and file.parent.name not in ARCHIVE]
    assert len(written) == 13
    for file in written:
        content = nib.load(file).to_bytes() if file.suffix == ".gz" else file.read_bytes()
        for value in dicom_files.PATIENT.values():
            assert len(value) == 1 or value.encode() not in content
