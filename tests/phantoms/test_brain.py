import math

import nibabel as nib
import numpy as np
import pytest

from cardioseg.core.volumes import read_image, read_labels
from cardioseg.phantoms import brain


def test_spin_echo_signal_equals_its_value_by_hand():
    # Half has recovered since the last excitation, of which a quarter is left at the echo.
    times = {"repetition_time": 1000 * math.log(2), "echo_time": 50 * math.log(4)}
    assert brain.spin_echo_signal(2, 1000, 50, **times) == pytest.approx(2 / 2 / 4)


def test_tissues_fill_the_head_without_overlap():
    head = brain.draw_head(np.random.default_rng(0))
    grid = np.arange(-120, 120, 2.0)
    found = brain.fractions(head, grid, grid, 10.0, 2.0)
    assert set(found) == set(brain.TISSUES)
    total = sum(found.values())
    assert min(part.min() for part in found.values()) >= 0
    assert total.max() == pytest.approx(1)
    assert total[60, 60] == pytest.approx(1)
    assert total[0, 0] == 0
    # Without what the brain holds its middle is white matter.
    assert brain.fractions(head._replace(parts=[]), grid, grid, 10.0, 2.0)["white matter"][60, 60] == 1


def test_an_ellipsoid_covers_its_volume():
    parts = [brain.Part("nuclei", (5.0, -3.0, 2.0), (12.0, 20.0, 15.0), 0.4)]
    head = brain.draw_head(np.random.default_rng(1))._replace(parts=parts)
    grid = np.arange(-40, 40, 1.0)
    slices = [brain.fractions(head, grid, grid, z, 1.0)["nuclei"] for z in grid]
    assert np.sum(slices) == pytest.approx(4 / 3 * math.pi * 12 * 20 * 15, rel=0.01)
    z, y, x = (np.sum(np.stack(slices) * axis) / np.sum(slices) for axis in np.meshgrid(*[grid] * 3, indexing="ij"))
    np.testing.assert_allclose((x, y, z), (5, -3, 2), atol=0.05)


def test_contrast_is_opposite_in_t1_and_t2():
    for image, labels in brain.draw(1, seed=0).values():
        assert image.array.shape == labels.array.shape
        assert set(np.unique(labels.array)) == {0, *brain.CODES.values()}
    (t1, t1_labels), (t2, t2_labels) = brain.draw(1, seed=0).values()
    fluid, grey = brain.CODES["ventricles"], brain.CODES["nuclei"]
    assert t1.array[t1_labels.array == fluid].mean() < 0.7 * t1.array[t1_labels.array == grey].mean()
    assert t2.array[t2_labels.array == fluid].mean() > 1.5 * t2.array[t2_labels.array == grey].mean()


def test_files_are_those_of_one_head_and_the_same_each_time(tmp_path):
    for folder, subject, seed in (("first", 3, 1), ("again", 3, 1), ("other", 3, 2)):
        brain.write(tmp_path / folder, subject, seed)
    names = ["t1.nii.gz", "t1_labels.nii.gz", "t2.nii.gz", "t2_labels.nii.gz"]
    assert sorted(path.name for path in (tmp_path / "first" / "3").iterdir()) == names
    for name in names:
        content = (tmp_path / "first" / "3" / name).read_bytes()
        assert content == (tmp_path / "again" / "3" / name).read_bytes()
        assert content != (tmp_path / "other" / "3" / name).read_bytes()
    centres = []
    for name in ("t1", "t2"):
        image = read_image(tmp_path / "first" / "3" / f"{name}.nii.gz")
        labels = read_labels(tmp_path / "first" / "3" / f"{name}_labels.nii.gz", brain.CODES, image)
        assert image.array.shape[0] == min(image.array.shape)
        centres.append(nib.affines.apply_affine(labels.affine, np.argwhere(labels.array > 0)[:, ::-1]).mean(axis=0))
    np.testing.assert_allclose(*centres, atol=6)
