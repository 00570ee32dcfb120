"""What every translator must do, whatever it is."""

import numpy as np
import pytest
import torch

from cardioseg.core import checkpoints, training_loop
from cardioseg.core.configuration import SCHEMA
from cardioseg.translation.translators import TRANSLATORS
from tiny_trainings import SOURCE, TARGET
from tiny_trainings import TRANSLATION as SETTINGS

CPU = torch.device("cpu")


def test_configuration_offers_every_registered_translator():
    assert SCHEMA["properties"]["translation"]["properties"]["method"]["enum"] == list(TRANSLATORS)


@pytest.mark.parametrize("name", TRANSLATORS)
def test_saved_network_gives_reproducible_synthetic_images_in_range(name, tmp_path):
    translator = TRANSLATORS[name]
    run = training_loop.Run("translation", 1, CPU, tmp_path / "state", "a")
    network, history = translator.train([SOURCE[:2], SOURCE[2:]], list(TARGET[:, None]), SETTINGS, run)
    assert all("iteration" in row for row in history)
    checkpoints.save_weights(tmp_path / "network.pt", network)
    loaded = translator.load(SETTINGS, tmp_path / "network.pt")
    styles = translator.sample_styles(loaded, 1, "7", 2)
    rendered = translator.synthesise(loaded, SOURCE, styles, CPU)
    assert (rendered.shape, rendered.dtype) == ((2, *SOURCE.shape), np.float32)
    assert np.abs(rendered).max() <= 1
    assert not np.array_equal(*rendered)
    np.testing.assert_allclose(translator.synthesise(network, SOURCE, styles, CPU), rendered, atol=1e-5)
    assert np.array_equal(translator.sample_styles(loaded, 1, "7", 3)[:2], styles)
    for others in ([(seed, "7") for seed in range(10)], [(1, patient) for patient in "abcdefghij"]):
        assert len({translator.sample_styles(loaded, *which, 2).tobytes() for which in others}) > 4
