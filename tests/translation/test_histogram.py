import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cardioseg.core import checkpoints, training_loop
from cardioseg.core.errors import InputError
from cardioseg.translation import histogram, munit
from tiny_trainings import TRANSLATION, noise

CPU = torch.device("cpu")
VOLUMES = [0.2 * noise(3, 0) - 0.5, 0.3 * noise(4, 1) + 0.4, noise(2, 2), np.abs(noise(3, 3))]
INTENSITIES = arrays(
    np.float32, (1, 4, 5), elements=st.floats(-1, 1, width=32) | st.sampled_from([-1.0, 0.0, 1.0]), fill=st.nothing()
)


def trained(folder, targets=VOLUMES):
    run = training_loop.Run("translation", 1, CPU, folder, "a")
    return histogram.train([noise(2, 9)], targets, {"method": "histogram"}, run)


def test_intensities_become_those_of_the_target_in_the_same_order():
    source = np.array([[[-0.4, 0.1, 0.0, -0.2]]], np.float32)
    target = np.array([[[0.5, 0.9, 0.8, 0.7]]], np.float32)
    matched = histogram.match(source, histogram.intensity_quantiles(target))
    np.testing.assert_allclose(matched, [[[0.5, 0.9, 0.8, 0.7]]], atol=1e-3)


def test_matched_volume_has_the_targets_histogram():
    source, target = noise(3, 4) ** 3, 0.5 * noise(3, 5) + 0.2
    matched = histogram.match(source, histogram.intensity_quantiles(target))
    np.testing.assert_allclose(np.sort(matched.ravel()), np.sort(target.ravel()), atol=2e-3)


def test_match_agrees_with_simpleitk():
    source, target = 0.6 * noise(6, 6) + 0.3 * noise(6, 6) ** 2, 0.5 * noise(5, 7) + 0.2
    images = [sitk.GetImageFromArray(volume) for volume in (source, target)]
    expected = sitk.GetArrayFromImage(sitk.HistogramMatching(*images, 1024, 255, thresholdAtMeanIntensity=False))
    matched = histogram.match(source, histogram.intensity_quantiles(target))
    np.testing.assert_allclose(matched, expected, atol=0.01)


def test_padding_is_neither_counted_nor_changed():
    source, target = noise(3, 4), 0.5 * noise(3, 5) + 0.2
    padded = [np.pad(volume, ((0, 0), (20, 0), (0, 50)), constant_values=-1) for volume in (source, target)]
    quantiles = histogram.intensity_quantiles(padded[1])
    np.testing.assert_array_equal(quantiles, histogram.intensity_quantiles(target))
    matched = histogram.match(padded[0], quantiles)
    np.testing.assert_array_equal(matched[:, 20:, :32], histogram.match(source, quantiles))
    assert (matched[:, :20] == -1).all()
    assert (matched[:, :, 32:] == -1).all()


@given(INTENSITIES)
def test_volume_matched_to_itself_stays_as_it_is(volume):
    volume[0, 0, 0] = 0.5  # some pixel is not black
    matched = histogram.match(volume, histogram.intensity_quantiles(volume))
    # Where two neighbours in rank differ most, the levels in between are up to half a level off.
    np.testing.assert_allclose(matched, volume, atol=2 * volume.size / histogram.LEVELS)


@given(INTENSITIES, INTENSITIES)
def test_order_of_intensities_is_kept(source, target):
    target[0, 0, 0] = 0.5
    matched = histogram.match(source, histogram.intensity_quantiles(target))
    assert matched.dtype == np.float32
    assert matched.min() >= -1
    assert matched.max() <= target.max()
    order = np.argsort(source, axis=None)
    before, after = source.ravel()[order], matched.ravel()[order]
    assert (np.diff(after) >= 0).all()
    assert (after[1:] == after[:-1])[before[1:] == before[:-1]].all()


def test_black_volume_stays_black():
    black = np.full((2, 4, 4), -1, np.float32)
    np.testing.assert_array_equal(histogram.match(black, histogram.intensity_quantiles(VOLUMES[0])), black)


def test_each_synthetic_image_has_the_intensities_of_another_target_volume(tmp_path):
    network, history = trained(tmp_path)
    assert history == []
    source = noise(2, 9)
    rendered = histogram.synthesise(network, source, histogram.sample_styles(network, 1, "7", 4), CPU)
    assert rendered.shape == (4, *source.shape)
    means = [float(np.mean(volume)) for volume in VOLUMES]
    np.testing.assert_allclose(sorted(rendered.mean(axis=(1, 2, 3))), sorted(means), atol=5e-3)


def test_styles_depend_on_seed_patient_and_sample_alone(tmp_path):
    network = trained(tmp_path)[0]
    known = histogram.sample_styles(network, 1, "7", 3)
    np.testing.assert_array_equal(histogram.sample_styles(network, 1, "7", 4)[:3], known)
    orders = {histogram.sample_styles(network, seed, patient, 4).tobytes() for seed in range(5) for patient in "abcde"}
    assert len(orders) > 10


def test_every_target_volume_is_drawn_equally_often(tmp_path):
    network = trained(tmp_path)[0]
    first = [histogram.sample_styles(network, 1, str(patient), 1)[0, 0] for patient in range(400)]
    _, counts = np.unique(first, return_counts=True)
    assert len(counts) == 4
    assert counts.min() > 70


def test_target_volumes_repeat_once_all_are_drawn(tmp_path):
    styles = histogram.sample_styles(trained(tmp_path, VOLUMES[:2])[0], 1, "7", 5)
    np.testing.assert_array_equal(styles[2:4], styles[:2])
    np.testing.assert_array_equal(styles[4], styles[0])
    assert not np.array_equal(styles[0], styles[1])


def test_network_is_loaded_as_it_was_saved(tmp_path):
    network = trained(tmp_path)[0]
    checkpoints.save_weights(tmp_path / "network.pt", network)
    loaded = histogram.load({}, tmp_path / "network.pt")
    assert torch.equal(loaded.quantiles, network.quantiles)


def test_network_of_another_translator_is_refused(tmp_path):
    other = munit.Munit(TRANSLATION["generator"], TRANSLATION["discriminator"])
    checkpoints.save_weights(tmp_path / "network.pt", other)
    with pytest.raises(InputError, match="not of the configured network"):
        histogram.load({}, tmp_path / "network.pt")
