import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cardioseg.cohort import orientation
from cardioseg.core import checkpoints, volumes
from cardioseg.core.errors import InputError
from cardioseg.core.turns import AS_STORED, Turn
from cardioseg.core.volumes import Volume
from cardioseg.model import segmentation, trained_model
from cardioseg.preprocessing import localisation, resampling
from trained import configuration, member_files, small_patient, summary, write_results

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    return small_patient(tmp_path_factory.mktemp("patient"))


@pytest.fixture(scope="module")
def results(tmp_path_factory, patient):
    return write_results(tmp_path_factory.mktemp("results"), patient.affine)


@pytest.fixture(scope="module")
def model(results):
    return trained_model.load(results)


def test_segmentation_lies_on_the_images_grid(model, patient):
    found = segmentation.segment(patient, model, CPU)
    assert found.labels.shape == found.entropy.shape == patient.array.shape
    assert found.labels.dtype == np.uint8
    assert found.labels.any()
    assert found.members.shape[:2] == (2, len(patient.array))
    assert found.orientation == orientation.Decision(AS_STORED, "")
    assert 0 < found.entropy.max() <= 1


@pytest.mark.parametrize(
    ("told", "expected"),
    [({"precision": "bfloat16"}, "bfloat16"), ({"precision": "float32"}, "float32")],
)
def test_networks_predict_in_the_precision_of_their_training(model, patient, monkeypatch, told, expected):
    used, predict = [], segmentation.prediction.predict

    def recording(*arguments, settings, **others):
        used.append(settings["precision"])
        return predict(*arguments, settings=settings | {"precision": "float32"}, **others)

    monkeypatch.setattr(segmentation.prediction, "predict", recording)
    settings = model.settings["segmentation"] | told
    segmentation.segment(patient, dataclasses.replace(model, settings=model.settings | {"segmentation": settings}), CPU)
    assert used == [expected] * len(model.members)


@pytest.mark.parametrize("turn", [Turn(True, True, False), Turn(False, False, True)])
def test_image_stored_another_way_round(model, patient, turn):
    expected = segmentation.segment(patient, model, CPU)
    found = segmentation.segment(turn.apply(patient), model, CPU)
    assert found.orientation.turn != AS_STORED
    assert found.orientation.doubt == ""
    # Sums in another order may decide a tie differently.
    assert np.mean(found.labels == turn.apply(Volume(expected.labels, patient.affine)).array) > 0.99
    np.testing.assert_allclose(found.entropy, turn.apply(Volume(expected.entropy, patient.affine)).array, atol=1e-5)


def bare(volume):
    """An affine of the volume's spacing alone, as scripts leave it."""
    return np.diag([*volume.spacing[::-1], 1])


@pytest.mark.parametrize("note", [(), (volumes.NO_GEOMETRY,)])
def test_image_whose_header_tells_nothing_is_taken_as_stored(model, patient, note):
    found = segmentation.segment(Volume(patient.array, np.diag([-1, -1, 1, 1]) @ bare(patient), note), model, CPU)
    assert found.orientation.turn == AS_STORED
    assert "taken as stored" in found.orientation.doubt


def test_clinical_image_for_a_model_of_bare_headers(model, patient):
    of_bare_headers = dataclasses.replace(model, cohort=model.cohort | {"directions": [[1, 0, 0], [0, 1, 0]]})
    found = segmentation.segment(patient, of_bare_headers, CPU)
    assert found.orientation.turn == AS_STORED
    assert "taken as stored" in found.orientation.doubt
    same = segmentation.segment(Volume(patient.array, bare(patient)), of_bare_headers, CPU)
    assert same.orientation == orientation.Decision(AS_STORED, "")


def test_image_turned_under_a_wrong_header_is_turned_back_by_the_networks(model, patient, monkeypatch):
    """The image's pixels are turned under an affine that does not say so."""
    expected = segmentation.segment(patient, model, CPU)
    right = resampling.to_common_pixels(patient, model.settings["resampling"]).array
    monkeypatch.setattr(localisation, "likeness", lambda volume, **_: float(np.allclose(volume.array, right, atol=0.1)))
    found = segmentation.segment(Volume(patient.array[:, ::-1, ::-1].copy(), patient.affine), model, CPU)
    assert found.orientation.turn == Turn(False, True, True)
    assert "turned by 180 degrees" in found.orientation.doubt
    assert np.mean(found.labels[:, ::-1, ::-1] == expected.labels) > 0.99


def test_saved_model_is_the_same(model, patient, tmp_path):
    trained_model.save(tmp_path / "model.pt", model)
    loaded = trained_model.load(tmp_path / "model.pt")
    for name in trained_model.ABOUT:
        assert getattr(loaded, name) == getattr(model, name)
    assert list(loaded.members) == [1, 2]
    expected, found = segmentation.segment(patient, model, CPU), segmentation.segment(patient, loaded, CPU)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.entropy, expected.entropy)


def test_weights_are_those_of_the_results(model, results):
    second = checkpoints.load(results / "segmentation" / "seed2" / "cascade_finetuned.pt")["weights"]
    torch.testing.assert_close(model.members[2].second.head.weight, second["head.weight"], rtol=0, atol=0)
    assert not torch.equal(model.members[1].second.head.weight, second["head.weight"])


def test_missing_or_damaged_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such model"):
        trained_model.load(tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model/ensemble\.pt: no such model.*to its end"):
        trained_model.load(tmp_path)
    (tmp_path / "model.pt").write_bytes(b"nothing")
    # It may be the user's image: nobody is told to delete it.
    with pytest.raises(InputError, match=r"model\.pt: is no model file, or a damaged one. Name another, or copy"):
        trained_model.load(tmp_path / "model.pt")


def test_file_of_another_kind(tmp_path, results):
    with pytest.raises(InputError, match="writes the model anew"):
        trained_model.load(results / "localisation" / "network.pt")


def test_file_whose_weights_do_not_fit(model, tmp_path):
    trained_model.save(tmp_path / "model.pt", model)
    content = checkpoints.load(tmp_path / "model.pt")
    content["about"]["settings"]["segmentation"]["width"] = 8
    checkpoints.save(tmp_path / "model.pt", content)
    with pytest.raises(InputError, match="writes the model anew"):
        trained_model.load(tmp_path / "model.pt")


def test_weights_that_do_not_fit_the_settings(results):
    settings = configuration()
    settings["segmentation"]["width"] = 8
    with pytest.raises(InputError, match="not of the configured network"):
        trained_model.gather(
            settings,
            settings["cohort"]["structures"],
            trained_model.WeightFiles(results / "localisation" / "network.pt", {1: member_files(results, 1)}, {}),
            summary(results),
            {},
            {},
        )


def test_folders_stand_for_the_model_file_in_them(results):
    assert trained_model.find(results) == trained_model.find(results / "model" / "ensemble.pt")
    assert trained_model.find(results / "model") == trained_model.find(results)


def test_model_of_a_workflow_counts_more_than_an_export_beside_it(tmp_path):
    for path in (tmp_path / "ensemble.pt", tmp_path / "model" / "ensemble.pt"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
        assert trained_model.find(tmp_path) == path


def test_model_file_may_lie_anywhere():
    """At the root, as in a container, too: there are no results around it to compare it with."""
    trained_model._check_sources(Path("/ensemble.pt"), {"results/metrics.csv": "0"})


def test_exported_model_has_nothing_to_do_with_tables_beside_its_folder(results, tmp_path):
    (tmp_path / "model").mkdir()
    shutil.copy(trained_model.find(results), tmp_path / "model" / "ensemble.pt")
    (tmp_path / "metrics.csv").write_text("of something else")
    assert trained_model.load(tmp_path / "model").structures


def test_segmentation_leaves_torchs_precision_as_it_was(model, patient, monkeypatch):
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [backend.fp32_precision for backend in backends]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for _ in range(3):
            segmentation.segment(patient, model, CPU)
    finally:
        torch.set_num_threads(threads)
    assert [backend.fp32_precision for backend in backends] == before
