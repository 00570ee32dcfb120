import dataclasses
import hashlib
import math

import numpy as np
import pytest

from cardioseg.model import model_card, trained_model
from trained import METRICS, write_results


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return trained_model.load(write_results(tmp_path_factory.mktemp("results"), np.diag([-1.0, 1.0, 8.0, 1.0])))


def test_card_describes_the_model(model):
    text = model_card.text(model, None)
    for told in (
        "# Segmentation of LV, MYO, RV in LGE images",
        "An ensemble of 2 cascades",
        "0 background, 500 LV, 200 MYO, 600 RV",
        "x index grows towards (-1.00, 0.00, 0.00), the y index towards (0.00, 1.00, 0.00)",
        "| bSSFP images with labels | 2 |",
        "| voxels of LGE images (z, y, x) | 5 x 0.7 x 0.75 to 6 x 0.8 x 0.75 mm |",
        "method: munit",
        "mlp_width: ",
        "Labelled bSSFP images of 1 of them were in the training set",
        "| LV | 0.850 (0.071) | 2 |",
        "spacing_mm: 2.5",
        "| torch | 9.9 |",
        f"| results/metrics.csv | {hashlib.sha256(METRICS.encode()).hexdigest()} |",
    ):
        assert told in text
    assert "onnx" not in text
    assert text.endswith(f"## Licence\n\n{trained_model.LICENCE}\n")


def test_card_tells_of_self_training(model):
    cohort = model.cohort | {"self_training": {"fused": True, "tested": 7}}
    text = model_card.text(dataclasses.replace(model, cohort=cohort), None)
    assert "trained further on LGE images without labels" in text
    assert "fused with registered manual labels of bSSFP images of the same patients." in text
    assert "were in the training set, and LGE images of 7, without their labels." in text
    assert "trained further" not in model_card.text(model, None)


def test_one_test_patient_has_no_standard_deviation(model):
    one = dataclasses.replace(model, cohort=model.cohort | {"dice": {"LV": [0.9, math.nan, 1]}})
    assert "| LV | 0.900 | 1 |" in model_card.text(one, None)


def test_card_with_networks_as_onnx(model):
    assert "`onnx/`: the networks for programs without torch. 0 of 9 voxels differ." in model_card.text(
        model, "0 of 9 voxels differ."
    )


def test_card_without_what_is_not_known(model):
    unknown = dataclasses.replace(model, cohort=model.cohort | {"dice": {}, "directions": None})
    text = model_card.text(unknown, None)
    assert "Not measured" in text
    assert "an image is used as it is stored" in text
