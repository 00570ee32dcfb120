import nibabel as nib
import numpy as np
import pytest

from cardioseg import images
from cardioseg.errors import InputError


@pytest.fixture
def folder(tmp_path):
    for name in ("one/lge.nii.gz", "one/._lge.nii.gz", "one/notes.txt", "two/deep/lge.nii", "other.nii.gz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_files_are_named_by_their_names(folder):
    found = images.find([folder / "one" / "lge.nii.gz", folder / "other.nii.gz"])
    assert found == {"lge": folder / "one" / "lge.nii.gz", "other": folder / "other.nii.gz"}


def test_files_of_one_name_are_named_by_their_folders(folder):
    assert list(images.find([folder])) == ["one/lge", "other", "two/deep/lge"]


def test_named_twice_is_found_once(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert images.find(["one", "one/lge.nii.gz", folder / "one"]) == {"lge": folder / "one" / "lge.nii.gz"}


def test_compressed_and_not(folder):
    (folder / "other.nii").touch()
    with pytest.raises(InputError, match=r"other\.nii is there twice"):
        images.find([folder])


def test_nothing_there(folder):
    with pytest.raises(InputError, match="three: no such file or folder"):
        images.find([folder / "three"])
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="no image in this folder"):
        images.find([folder / "one", folder / "empty"])


def test_written_in_the_images_own_geometry(tmp_path):
    """Slices along the file's second axis, an oblique affine: the mask and the map lie on the image's voxels."""
    stored = np.random.default_rng(0).integers(0, 99, (40, 6, 36)).astype(np.int16)
    affine = np.array([[0, -6.4, 0.9, 9], [1.2, 0, 0, 3], [0, 4.8, 1.2, 1], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(stored, affine), tmp_path / "lge.nii")
    image = images.read(tmp_path / "lge.nii")
    bright = image.volume.array > 50
    mask = images.write_labels(tmp_path / "masks" / "a.b", bright.astype(np.uint8), {"LV": 500}, image)
    shown = images.write_map(tmp_path / "maps" / "a.b", image.volume.array / 4, image)
    assert (mask.name, shown.name) == ("a.b.nii.gz", "a.b.nii.gz")
    for path, expected in ((mask, 500 * (stored > 50)), (shown, stored / 4)):
        written = nib.load(path)
        np.testing.assert_array_equal(written.get_fdata(), expected)
        np.testing.assert_allclose(written.affine, affine, atol=1e-6)
