import nibabel as nib
import numpy as np
import pytest

from cardioseg.core import volumes
from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.inference import raw_labels
from cardioseg.preprocessing import cropping, resampling

CODES = {"LV": 500, "MYO": 200, "RV": 600}


def test_mean_probabilities_are_the_mean_of_the_members():
    members = [np.array([[0.9], [0.1]]), np.array([[0.2], [0.8]]), np.array([[0.7], [0.3]])]
    mean = raw_labels.mean_probabilities(members)
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, [[0.6], [0.4]], rtol=1e-6)


def test_mean_of_one_member_is_that_member():
    member = np.random.default_rng(0).uniform(size=(4, 2, 5, 5)).astype(np.float32)
    np.testing.assert_array_equal(raw_labels.mean_probabilities([member]), member)


def test_a_confident_member_outvotes_two_doubtful_ones():
    """Probabilities are averaged, not masks."""
    members = [np.array([0.55, 0.45]), np.array([0.55, 0.45]), np.array([0.05, 0.95])]
    assert raw_labels.mean_probabilities(members).argmax() == 1


def test_outside_of_the_crop_is_background():
    affine = np.diag([1.25, 1.25, 8.0, 1.0])
    raw = Volume(np.zeros((2, 40, 44), np.float32), affine)
    crop = cropping.crop(raw, (20, 22), 16, 0.0)
    probabilities = np.zeros((4, 2, 16, 16), np.float32)
    probabilities[3] = 1
    labels = raw_labels.on_raw_grid(Volume(probabilities, crop.affine), raw)
    assert labels.dtype == np.uint8
    expected = np.zeros((2, 40, 44), np.uint8)
    expected[:, 12:28, 14:30] = 3
    np.testing.assert_array_equal(labels, expected)


def test_most_probable_class_needs_no_majority():
    affine = np.diag([1.25, 1.25, 8.0, 1.0])
    probabilities = np.array([0.3, 0.3, 0.4]).reshape(3, 1, 1, 1) * np.ones((3, 2, 32, 32))
    raw = Volume(np.zeros((2, 32, 32), np.float32), affine)
    assert (raw_labels.on_raw_grid(Volume(probabilities, affine), raw) == 2).all()


def test_crop_larger_than_the_raw_image_covers_it():
    raw = Volume(np.zeros((2, 40, 44), np.float32), np.diag([1.25, 1.25, 8.0, 1.0]))
    crop = cropping.crop(raw, (20, 22), 64, 0.0)
    probabilities = np.zeros((2, 2, 64, 64), np.float32)
    probabilities[1] = 1
    assert (raw_labels.on_raw_grid(Volume(probabilities, crop.affine), raw) == 1).all()


def test_probabilities_of_another_image_are_refused():
    raw = Volume(np.zeros((2, 40, 44), np.float32), np.diag([1.25, 1.25, 8.0, 1.0]))
    with pytest.raises(InputError, match="do not share their slices"):
        raw_labels.on_raw_grid(Volume(np.ones((2, 3, 40, 44)), raw.affine), raw)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize(("pixel", "least"), [(1.25, 1.0), (0.75, 0.97)])
def test_perfect_network_gives_the_manual_labels_back_on_the_raw_grid(tmp_path, order, pixel, least):
    """Resampling, cropping and the way back, as in the pipeline, with the manual labels as prediction."""
    shape = (4, 96, 100)
    y, x = np.ogrid[:96, :100]
    radius = np.hypot(y - 50.3, x - 44.8) * pixel
    stored = np.select([radius < 14, radius < 24, radius < 32], [500, 200, 600]) * np.ones(shape, int)
    stored[0] = 0
    image = np.random.default_rng(0).integers(0, 99, shape) + stored
    affine = np.array([[0, -pixel, 0, 9], [pixel * 0.6, 0, 6.4, 3], [-pixel * 0.8, 0, 4.8, 1], [0, 0, 0, 1]])
    orientation = np.column_stack([order, [1, -1, 1]])
    for name, array in (("image", image), ("manual", stored)):
        nib.save(
            nib.Nifti1Image(array.T.astype(np.int16), affine).as_reoriented(orientation), tmp_path / f"{name}.nii.gz"
        )

    raw = volumes.read_image(tmp_path / "image.nii.gz")
    truth = volumes.read_labels(tmp_path / "manual.nii.gz", CODES, raw)
    resampled = resampling.resample(raw, 1.25)
    crop = cropping.crop_and_normalise(
        resampled, (resampled.array.shape[1] / 2, 44.0 * pixel / 1.25), {"size": 80, "percentiles": [1, 99]}
    )
    volumes.write(tmp_path / "crop.nii.gz", crop.array, crop.affine)
    crop = volumes.read(tmp_path / "crop.nii.gz")
    perfect = resampling.one_hot(resampling.labels_on_grid(truth, crop, 4), 4)
    volumes.write(tmp_path / "probabilities.nii.gz", perfect, crop.affine)
    labels = raw_labels.on_raw_grid(volumes.read(tmp_path / "probabilities.nii.gz"), raw)
    volumes.write_labels_like(tmp_path / "mask.nii.gz", labels, CODES, tmp_path / "image.nii.gz")

    mask, manual = nib.load(tmp_path / "mask.nii.gz"), nib.load(tmp_path / "manual.nii.gz")
    np.testing.assert_allclose(mask.affine, manual.affine, atol=1e-6)
    for code in CODES.values():
        a, b = np.asarray(mask.dataobj) == code, np.asarray(manual.dataobj) == code
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) >= least
