import dataclasses

import numpy as np
import pytest
import torch

from cardioseg.core.errors import InputError
from cardioseg.model import trained_model
from cardioseg.segmentation.unet import predict
from trained import small_patient, write_results

pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
from cardioseg.model import onnx_export

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    return small_patient(tmp_path_factory.mktemp("patient"))


@pytest.fixture(scope="module")
def models(tmp_path_factory, patient):
    """A model computed by torch and by onnxruntime, and the folder of the networks."""
    model = trained_model.load(write_results(tmp_path_factory.mktemp("results"), patient.affine))
    folder = tmp_path_factory.mktemp("onnx")
    return model, onnx_export.write(model, folder), folder


def test_each_network_is_one_onnx_file(models):
    _, _, folder = models
    names = ["cascade_seed1.onnx", "cascade_seed2.onnx", "localiser.onnx"]
    assert sorted(path.name for path in folder.iterdir()) == names


@pytest.mark.parametrize("shape", [(1, 64, 64), (19, 80, 48)])
def test_any_number_and_size_of_slices(models, shape):
    model, computed, _ = models
    slices = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    cpu = torch.device("cpu")
    for one, other in ((model.members[2], computed.members[2]), (model.localiser, computed.localiser)):
        np.testing.assert_allclose(predict(other, slices, cpu), predict(one, slices, cpu), atol=1e-4)


def test_onnxruntime_gives_the_same_masks(models, patient):
    model, computed, _ = models
    differing, voxels = onnx_export.check(model, computed, [patient])
    assert voxels > 100
    assert differing <= onnx_export.TOLERANCE * voxels


def test_other_masks_are_noticed(models, patient):
    model, computed, _ = models
    swapped = dataclasses.replace(computed, members={1: computed.members[1], 2: computed.members[1]})
    with pytest.raises(InputError, match="gives other masks than torch"):
        onnx_export.check(model, swapped, [patient])
