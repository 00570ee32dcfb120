"""An ensemble that also takes the source image of the same examination."""

import dataclasses

import numpy as np
import pytest
import torch

from cardioseg.core import checkpoints, volumes
from cardioseg.core.errors import InputError
from cardioseg.core.turns import TURNS
from cardioseg.core.volumes import Volume
from cardioseg.evaluation import metrics
from cardioseg.inference import fusion
from cardioseg.model import model_card, segmentation, trained_model
from cardioseg.phantoms import heart
from trained import small_patient, source_file, write_results

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The target and the source image of one patient."""
    folder = tmp_path_factory.mktemp("patient")
    target = small_patient(folder)
    return target, volumes.read_image(heart.release_files(folder, 60)["bSSFP"])


@pytest.fixture(scope="module")
def results(tmp_path_factory, images):
    return write_results(tmp_path_factory.mktemp("results"), images[0].affine, with_source=True)


@pytest.fixture(scope="module")
def model(results):
    return trained_model.load(results)


@pytest.fixture(scope="module")
def alone(model, images):
    return segmentation.segment(images[0], model, CPU)


@pytest.fixture(scope="module")
def fused(model, images):
    return segmentation.segment(images[0], model, CPU, images[1])


def test_source_image_counts(alone, fused):
    assert alone.witness is None
    assert fused.witness.unused == ""
    assert 0 < fused.witness.agreement <= 1
    assert fused.labels.shape == alone.labels.shape
    assert (fused.labels != alone.labels).any()
    assert (fused.entropy != alone.entropy).any()
    np.testing.assert_array_equal(fused.members, alone.members)


def test_source_labels_with_all_weight_become_the_result(model, images, alone, monkeypatch):
    """With all of the weight, the result is what registration carries over, closed."""
    target, _ = images
    settings = {"stage": "none", "weight": 1, "blur_mm": [0, 0, 0], "least_agreement": 0, "least_area": 0}
    heavy = dataclasses.replace(model, settings=model.settings | {"fusion": settings})
    known = np.zeros(target.array.shape, np.uint8)
    _, rows, columns = (length // 2 for length in known.shape)
    known[4:8, rows - 6 : rows + 6, columns - 6 : columns + 6] = 1
    monkeypatch.setattr(fusion, "predicted_labels", lambda *_: known)
    found = segmentation.segment(target, heavy, CPU, target)
    assert metrics.dice(found.labels[4:8] == 1, known[4:8] == 1) > 0.9
    whole = alone.labels > 0
    assert (found.labels[10:] > 0).any() == whole[10:].any()


def test_saved_ensemble_keeps_its_source_networks(model, results, images, fused, tmp_path):
    trained_model.save(tmp_path / "model.pt", model)
    loaded = trained_model.load(tmp_path / "model.pt")
    stored = checkpoints.load(source_file(results, 2))["weights"]["head.weight"]
    torch.testing.assert_close(loaded.source_networks[2].head.weight, stored, rtol=0, atol=0)
    again = segmentation.segment(images[0], loaded, CPU, images[1])
    np.testing.assert_array_equal(again.labels, fused.labels)


@pytest.mark.parametrize("section", ["registration", "fusion"])
def test_file_that_lacks_a_setting_for_source_images_is_refused(model, tmp_path, section):
    for key in model.settings[section]:
        if key == "labels":  # which only a workflow reads
            continue
        lacking = {name: value for name, value in model.settings[section].items() if name != key}
        settings = model.settings | {section: lacking}
        trained_model.save(tmp_path / "model.pt", dataclasses.replace(model, settings=settings))
        with pytest.raises(InputError, match="not a model of this version"):
            trained_model.load(tmp_path / "model.pt")


def test_card_tells_that_a_source_image_counts(model):
    assert "`--source IMAGE`, a bSSFP image of the same examination" in model_card.text(model, None)


def test_ensemble_without_source_networks_holds_nothing_for_them(tmp_path, images):
    plain = trained_model.load(write_results(tmp_path, images[0].affine))
    assert plain.source_networks == {}
    assert not set(trained_model.OF_SOURCE) & set(plain.settings)
    assert "source" not in checkpoints.load(tmp_path / trained_model.FILE)["weights"]
    assert "--source" not in model_card.text(plain, None)


def test_source_image_stored_another_way_round(model, images, fused):
    turned = TURNS[3].apply(images[1])
    found = segmentation.segment(images[0], model, CPU, turned)
    # Registration draws its points along the axes, which are turned back to within rounding.
    assert np.mean(found.labels == fused.labels) > 0.98


def elsewhere(volume):
    affine = volume.affine.copy()
    affine[:3, 3] += 900
    return Volume(volume.array, affine)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (elsewhere, "outside of the other image in scanner coordinates"),
        (lambda volume: Volume(volume.array, volume.affine, (volumes.NO_GEOMETRY,)), "not known where the images lie"),
        (lambda volume: Volume(np.full_like(volume.array, 5), volume.affine), "intensities are constant"),
    ],
    ids=["elsewhere", "no geometry", "one grey value"],
)
def test_source_image_that_does_not_fit_is_left_aside(model, images, alone, spoil, expected):
    found = segmentation.segment(images[0], model, CPU, spoil(images[1]))
    assert expected in found.witness.unused
    assert np.isnan(found.witness.agreement)
    np.testing.assert_array_equal(found.labels, alone.labels)


def test_source_image_that_disagrees_is_left_aside(model, images, alone):
    strict = dataclasses.replace(
        model, settings=model.settings | {"fusion": model.settings["fusion"] | {"least_agreement": 1}}
    )
    found = segmentation.segment(images[0], strict, CPU, images[1])
    dice = f"Dice {found.witness.agreement:.2f} with the ensemble alone"
    assert found.witness.unused == f"it disagrees ({dice}): of this patient?"
    np.testing.assert_array_equal(found.labels, alone.labels)


def test_source_image_in_which_nothing_is_found(model, images, alone, monkeypatch):
    monkeypatch.setattr(fusion, "predicted_labels", lambda *_: np.zeros(images[1].array.shape, np.uint8))
    found = segmentation.segment(images[0], model, CPU, images[1])
    assert found.witness.unused == "no structures found in it."
    np.testing.assert_array_equal(found.labels, alone.labels)
