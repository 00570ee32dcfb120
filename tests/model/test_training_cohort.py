import numpy as np
import pytest

from cardioseg.core import volumes
from trained import COHORT, summary, write_results

AFFINE = np.diag([-2.0, 2.0, 10.0, 1.0])


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path, AFFINE)


def test_training_cohort_is_summarised(results):
    found = summary(results)
    assert (found["source"], found["target"]) == ("bSSFP", "LGE")
    assert found["patients"] == {"labelled": 2, "translation_source": 1, "translation_target": 2, "test": 1}
    assert found["seen"] == 1
    assert found["slices"] == [12, 16]
    assert found["spacing_mm"] == [[5, 0.7, 0.75], [6, 0.8, 0.75]]
    # 10 x 10 and 20 x 20 pixels of 0.04 ml.
    assert found["volumes_ml"] == {name: [pytest.approx(4), pytest.approx(16)] for name in ("LV", "MYO", "RV")}
    assert found["directions"] == [[-1, 0, 0], [0, 1, 0]]
    assert found["dice"] == {"LV": [pytest.approx(0.85), pytest.approx(0.0707, abs=1e-4), 2]}


def test_test_images_that_were_in_self_training_are_counted(results):
    assert summary(results)["self_training"] is None
    found = summary(results, {"epochs": 3, "learning_rate": 0.001, "fused": True})
    assert found["self_training"] == {"fused": True, "tested": 1}


def test_no_patient_is_named(results):
    assert not any(name in repr(summary(results)) for name in ("anna", "bert", "carl", "dora"))


def test_directions_that_differ(results):
    labels = volumes.read(results / "cropped" / "labels" / "anna.nii.gz")
    volumes.write(results / "cropped" / "labels" / "anna.nii.gz", labels.array, AFFINE @ np.diag([-1, -1, 1, 1]))
    assert summary(results)["directions"] == [[-1, 0, 0], [0, 1, 0]]


def test_oblique_targets_tell_directions_where_labelled_images_lie_along_the_bodys_axes(results):
    turn = np.radians(30)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    oblique = np.eye(4)
    oblique[:3, :3] = rotation * (2, 2, 10)
    for patient in ("bert", "dora"):
        path = results / "cropped" / "LGE" / f"{patient}.nii.gz"
        volumes.write(path, volumes.read(path).array, oblique)
    np.testing.assert_allclose(summary(results)["directions"], rotation.T[:2], atol=1e-6)


def test_directions_that_no_header_tells(results):
    def without_geometry(text, *names):
        for name in names:
            text = text.replace(f",,{name}.nii.gz", f",{name}.nii.gz: {volumes.NO_GEOMETRY},{name}.nii.gz")
        return text

    table = results / "cohort" / "cohort.csv"
    table.write_text(without_geometry(COHORT, "a", "b", "c"))
    assert summary(results)["directions"] == [[-1, 0, 0], [0, 1, 0]]
    table.write_text(without_geometry(COHORT, "a", "b", "c", "d"))
    assert summary(results)["directions"] is None
