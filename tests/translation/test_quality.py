import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats
from torch import nn

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.translation import quality
from cardioseg.translation.image_statistics import (
    BINS,
    consistency,
    describe,
    edge_ratios,
    features,
    frechet_distance,
    histogram,
    wasserstein,
)

CPU = torch.device("cpu")
AFFINE = np.diag([1.25, 1.25, 8.0, 1.0])
STRUCTURES = ["cavity", "wall"]
# A step of 1 under the derivative of a Gaussian of one pixel: sum over k of k phi(k).
STEP = sum(k * stats.norm.pdf(k) for k in range(1, 5))


def volume(array):
    return Volume(np.asarray(array, np.float32), AFFINE)


def heart(shape=(3, 64, 64), shift=0):
    """A disc (1) in a ring (2), off the middle by a shift in x, with nothing on the first slice."""
    y, x = np.indices(shape[1:]) - shape[1] / 2 + 0.5
    radius = np.hypot(y, x - shift)
    labels = np.repeat(((radius < 16).astype(np.uint8) + (radius < 10))[None], shape[0], axis=0)
    labels[labels > 0] = 3 - labels[labels > 0]
    labels[0] = 0
    return labels


def rendered(labels, cavity=0.8, wall=-0.6, noise=0.05, seed=0):
    """An image of labels: each structure of one brightness, with noise."""
    brightness = np.array([0.1, cavity, wall])[labels]
    return volume(np.clip(brightness + noise * np.random.default_rng(seed).standard_normal(labels.shape), -1, 1))


class Brightness(nn.Module):
    """Calls what is bright cavity and what is dark wall."""

    def forward(self, image):
        return 50 * torch.cat([0.25 - (image - 0.1).abs(), image - 0.45, -image - 0.25], dim=1)


def described(image, labels, networks=()):
    return describe([image], labels, 2, networks, CPU)[0]


def assess(source, target, synthetic):
    return quality.assess(source, target, synthetic, ("CT", "MR"), STRUCTURES)


def value(table, measure, images, structure, seed="", column="value"):
    found = table.query("measure == @measure and images == @images and structure == @structure and seed == @seed")
    assert len(found) == 1
    return found[column].item()


# Edges


def test_edge_ratio_of_a_step_on_a_ramp_equals_its_value_by_hand():
    """The step is 1 and lies along the labels' boundary; its sampled derivative is STEP. The ramp's slope is 0.01."""
    x = np.arange(64)
    image = np.broadcast_to(0.01 * x + (x >= 32) - 1, (2, 64, 64))
    mask = np.broadcast_to(x >= 32, (2, 64, 64))
    assert edge_ratios(volume(image), [mask]) == pytest.approx([(0.01 + STEP) / 0.01], rel=0.04)


def test_edge_ratio_is_one_where_edges_ignore_the_labels():
    ramp = np.broadcast_to(np.linspace(-1, 1, 64), (3, 64, 64))
    masks = [heart() == 1, heart() == 2]
    inner = volume(ramp[:, 2:-2, 2:-2])
    assert edge_ratios(inner, [mask[:, 2:-2, 2:-2] for mask in masks]) == pytest.approx([1, 1], abs=0.02)
    noise = volume(np.random.default_rng(3).uniform(-1, 1, (3, 64, 64)))
    assert edge_ratios(noise, masks) == pytest.approx([1, 1], abs=0.1)


def test_moved_anatomy_lowers_the_edge_ratio():
    ratios = [edge_ratios(rendered(heart(shift=shift)), [heart() == 1, heart() == 2]).mean() for shift in (0, 1, 2, 4)]
    assert ratios[0] > 4
    assert np.all(np.diff(ratios) < 0)


@settings(max_examples=10)
@given(st.floats(0.1, 1), st.floats(-0.2, 0.2))
def test_edge_ratio_does_not_depend_on_brightness_or_contrast(gain, offset):
    masks = [heart() == 1, heart() == 2]
    image = rendered(heart(), seed=1)
    changed = volume(0.7 * gain * image.array + offset)
    assert edge_ratios(changed, masks) == pytest.approx(edge_ratios(image, masks), rel=1e-3)


def test_edge_ratio_without_a_boundary_is_not_available():
    labels = heart()
    flat, image = volume(np.zeros(labels.shape)), rendered(labels)
    nothing = np.zeros(labels.shape, bool)
    assert np.isnan(edge_ratios(flat, [labels == 1])).all()
    assert np.isnan(edge_ratios(image, [nothing, nothing])).all()
    assert list(np.isnan(edge_ratios(image, [labels == 1, nothing]))) == [False, True]


def test_edge_of_the_crop_is_no_boundary():
    mask = np.zeros((1, 32, 32), bool)
    mask[:, :, 16:] = True
    image = volume(np.broadcast_to(np.where(np.arange(32) < 16, -0.5, 0.5) + 0.01 * np.arange(32), (1, 32, 32)))
    assert edge_ratios(image, [mask]) == pytest.approx([(0.01 + STEP) / 0.01], rel=0.04)


# Consistency


def test_unet_dice_compares_what_a_network_sees_with_the_labels():
    labels = heart()
    image = rendered(labels, noise=0).array
    assert consistency(image, labels, 2, [Brightness()], CPU) == pytest.approx([1, 1])
    # Seen where it was before it was moved: by hand from the masks.
    moved = heart(shift=4)
    expected = [
        2 * ((moved == index) & (labels == index)).sum() / ((moved == index).sum() + (labels == index).sum())
        for index in (1, 2)
    ]
    assert consistency(image, moved, 2, [Brightness()], CPU) == pytest.approx(expected)
    blind = nn.Conv2d(1, 3, 1)
    nn.init.zeros_(blind.weight)
    with torch.no_grad():
        blind.bias.copy_(torch.tensor([1.0, 0, 0]))
    assert consistency(image, labels, 2, [Brightness(), blind], CPU) == pytest.approx([0.5, 0.5])


def test_unet_dice_without_labels_or_networks_is_not_available():
    labels = heart()
    image = rendered(labels).array
    assert np.isnan(consistency(image, np.zeros_like(labels), 2, [Brightness()], CPU)).all()
    assert np.isnan(consistency(image, labels, 2, [], CPU)).all()


# Distances


def gaussian(mean, spread, count=200_000):
    return stats.norm(mean, spread).ppf((np.arange(count) + 0.5) / count)


def test_wasserstein_distance_of_gaussians_is_the_known_one():
    first = histogram(gaussian(-0.2, 0.1))
    assert wasserstein(first, first) == 0
    assert wasserstein(first, histogram(gaussian(0.1, 0.1))) == pytest.approx(0.3, abs=1e-3)
    wider = wasserstein(first, histogram(gaussian(-0.2, 0.15)))
    assert wider == pytest.approx(0.05 * math.sqrt(2 / math.pi), abs=1e-3)


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40))
def test_wasserstein_distance_agrees_with_scipy(seed, first, second):
    generator = np.random.default_rng(seed)
    samples = generator.uniform(-1, 1, first), generator.uniform(-1, 1, second) ** 3
    histograms = [histogram(sample) for sample in samples]
    distance = wasserstein(*histograms)
    assert distance == pytest.approx(stats.wasserstein_distance(*samples), abs=2 / BINS)
    assert distance == pytest.approx(wasserstein(*histograms[::-1]))
    assert wasserstein(3 * histograms[0], histograms[1]) == pytest.approx(distance)


def test_wasserstein_distance_counts_the_ends_of_the_scale():
    assert wasserstein(histogram([-1.0]), histogram([1.0])) == pytest.approx(2, abs=1.01 * 2 / BINS)
    assert math.isnan(wasserstein(histogram([]), histogram([1.0])))


def sample(mean, covariance, count=50, seed=0):
    """Points whose mean and covariance are exactly these."""
    points = np.random.default_rng(seed).standard_normal((count, len(mean)))
    points -= points.mean(axis=0)
    points = points @ np.linalg.inv(np.linalg.cholesky(np.cov(points, rowvar=False))).T
    return points @ np.linalg.cholesky(np.asarray(covariance, float)).T + mean


def test_frechet_distance_of_gaussians_is_the_known_one():
    first, second = sample([0, 0, 0], np.diag([1, 4, 9])), sample([1, 0, 2], np.diag([4, 4, 1]), seed=1)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(first, first + np.array([3, 0, 4])) == pytest.approx(25)
    # Covariances that commute: the difference of the spreads, squared.
    assert frechet_distance(first, second) == pytest.approx(5 + 1 + 0 + 4)
    turned = [[2.0, 1.2, 0.3], [1.2, 3.0, -0.4], [0.3, -0.4, 1.0]]
    root = linalg.sqrtm(np.diag([1, 4, 9]) @ turned).real
    assert frechet_distance(first, sample([0, 0, 0], turned, seed=2)) == pytest.approx(14 + 6 - 2 * np.trace(root))


def test_frechet_distance_of_few_samples_is_finite():
    points = sample([0, 1, 2], np.eye(3))
    assert frechet_distance(points[:2], points[:2]) == pytest.approx(0, abs=1e-6)
    assert math.isnan(frechet_distance(points[:1], points))
    assert frechet_distance(points[:, :1], points[:, :1] + 2) == pytest.approx(4)


# Features


def test_features_of_white_noise_are_the_known_ones():
    noise = np.random.default_rng(0).normal(0, 0.1, (4, 128, 128))
    found = features(noise)
    assert found.shape == (4, 11)
    assert found[:, :3] == pytest.approx(np.tile(stats.norm(0, 0.1).ppf([0.1, 0.5, 0.9]), (4, 1)), abs=5e-3)
    spreads, sparseness = found[:, 3::2], found[:, 4::2]
    assert np.all(np.diff(spreads) < -0.3)  # each octave of white noise has less energy than the finer one
    assert sparseness[:, :2] == pytest.approx(np.full((4, 2), math.log(math.sqrt(2 / math.pi))), abs=0.03)


@pytest.mark.parametrize(("period", "band"), [(2, 0), (8, 1), (16, 2), (32, 3)])
def test_waves_fall_in_their_octave(period, band):
    wave = 0.5 * np.cos(2 * np.pi * (np.arange(128) + 0.5) / period + (np.pi / 2 if period == 2 else 0))
    assert features(np.broadcast_to(wave, (1, 128, 128)))[0, 3::2].argmax() == band


def test_few_sharp_edges_are_sparse():
    image = rendered(heart((2, 96, 96)), noise=0).array[1:]
    noise = np.random.default_rng(0).normal(0, 0.1, image.shape)
    assert features(image)[0, 4] < features(noise)[0, 4] - 0.5


def test_features_do_not_depend_on_position():
    image = rendered(heart(), seed=4).array
    found = features(image)
    np.testing.assert_allclose(features(image[:, ::-1]), found, atol=1e-5)
    np.testing.assert_allclose(features(image.swapaxes(1, 2)), found, atol=1e-5)
    assert np.isfinite(features(np.zeros((2, 32, 32), np.float32))).all()


# Together


@pytest.mark.parametrize("count", range(8))
def test_halves_are_disjoint_and_complete(count):
    volumes = [described(rendered(heart(), seed=seed), heart()) for seed in range(count)]
    cuts = quality.halves(volumes)
    assert bool(cuts) == (count > 1)
    for first, second in cuts:
        assert abs(len(first) - len(second)) <= 1
        assert {id(each) for each in [*first, *second]} == {id(each) for each in volumes}
        assert len(first) + len(second) == count
    assert len({frozenset(map(id, first)) for first, _ in cuts}) == len(cuts)


def test_untranslated_images_score_as_the_source_and_perfect_ones_as_the_target():
    """Untranslated images have the source's values; images of the target have distance 0 to it."""
    shifts = [-2, 0, 2]
    anatomies = [heart(shift=shift) for shift in shifts]
    source = [
        described(rendered(labels, 0.8, -0.6, seed=seed), labels, [Brightness()])
        for seed, labels in enumerate(anatomies)
    ]
    target = [
        described(rendered(labels, 0.5, -0.9, 0.2, seed=9 + seed), labels, [Brightness()])
        for seed, labels in enumerate(anatomies)
    ]
    table = assess(source, target, {3: [[each] for each in source], 5: [[each] for each in target]})
    assert list(table.columns) == quality.COLUMNS
    for measure in ("boundary_edge_ratio", "unet_dice", "distance_intensities"):
        for structure in [*STRUCTURES, "AVG"]:
            assert value(table, measure, "synthetic MR", structure, "3") == value(table, measure, "CT", structure)
            expected = 0 if measure == "distance_intensities" else value(table, measure, "MR", structure)
            assert value(table, measure, "synthetic MR", structure, "5") == expected
    assert value(table, "distance_features", "synthetic MR", "crop", "3") == pytest.approx(
        value(table, "distance_features", "CT", "crop")
    )
    assert value(table, "distance_features", "synthetic MR", "crop", "5") == pytest.approx(0, abs=1e-6)
    # The floor is well below the reference.
    assert value(table, "distance_intensities", "MR", "AVG") < value(table, "distance_intensities", "CT", "AVG") / 5
    assert value(table, "distance_features", "MR", "crop") < value(table, "distance_features", "CT", "crop") / 5
    # The brightness of the cavity differs by 0.3 but for what the noise loses at the ends of the scale.
    assert value(table, "distance_intensities", "CT", "cavity") == pytest.approx(0.3, abs=0.02)
    for measure, structure in [("unet_dice", "wall"), ("distance_features", "crop")]:
        both = [value(table, measure, "synthetic MR", structure, seed) for seed in ("3", "5")]
        assert value(table, measure, "synthetic MR", structure) == pytest.approx(np.mean(both))


def test_diversity_equals_its_value_by_hand():
    """Three samples of one anatomy differ only in the cavity's brightness, by 0.1, 0.2 and 0.3."""
    labels = heart()
    samples = describe(
        [rendered(labels, cavity, noise=0) for cavity in (0.4, 0.5, 0.7)], labels, 2, [Brightness()], CPU
    )
    other = described(rendered(heart(shift=1), 0.1, noise=0), heart(shift=1))
    table = assess([other, samples[0]], [other, samples[2]], {1: [samples, samples[:2]]})
    pairs = np.array([0.1, 0.3, 0.2, 0.1])
    cavity = (labels[1] == 1).sum() / (labels[1] > 0).sum()
    assert value(table, "diversity_l1", "synthetic MR", "foreground") == pytest.approx(pairs.mean() * cavity)
    assert value(table, "diversity_intensities", "synthetic MR", "cavity") == pytest.approx(pairs.mean(), abs=2e-3)
    assert value(table, "diversity_intensities", "synthetic MR", "wall") == 0
    assert value(table, "diversity_intensities", "MR", "cavity") == pytest.approx(0.6, abs=2e-3)
    assert value(table, "diversity_l1", "CT", "foreground") > 0
    assert value(table, "diversity_features", "synthetic MR", "crop") > 0
    assert value(table, "diversity_l1", "synthetic MR", "foreground", column="n") == 4
    assert value(table, "distance_intensities", "synthetic MR", "wall", column="n") == 5
    assert value(table, "distance_features", "synthetic MR", "crop", column="n") == 15
    assert (table["value"] >= 0).sum() == table["value"].notna().sum()


def test_feature_distance_does_not_depend_on_a_features_unit():
    """All features have different units."""
    anatomies = [heart(shift=shift) for shift in (-2, 0, 2)]
    sets = [
        [
            described(rendered(labels, cavity, noise=0.1 + 0.1 * seed, seed=seed), labels)
            for seed, labels in enumerate(anatomies)
        ]
        for cavity in (0.3, 0.5, 0.8)
    ]
    units = 100.0 * np.arange(1, 12)
    stretched = [[replace(each, features=each.features * units) for each in volumes] for volumes in sets]
    values = [
        assess(source, target, {1: [synthetic]}).query("structure == 'crop'")["value"].to_numpy()
        for source, target, synthetic in (sets, stretched)
    ]
    assert len(values[0]) == 8
    np.testing.assert_allclose(*values, rtol=0.05)


class Blind(nn.Module):
    """Calls everything background."""

    def forward(self, image):
        return torch.cat([image * 0 + 1, image * 0, image * 0], dim=1)


def test_networks_see_what_they_were_not_trained_on(caplog):
    labels = heart()
    source, target = rendered(labels, seed=1), rendered(labels, seed=2)
    seeing, blind = Brightness(), Blind()

    def measured(pretrained, finetuned):
        synthetic = {seed: iter([([rendered(labels, seed=seed)], labels)]) for seed in range(1, 1 + len(finetuned))}
        images = iter([(source, labels)]), iter([(target, labels), (target, None)])
        return quality.measure(*images, synthetic, quality.UNets(pretrained, finetuned, CPU), ("CT", "MR"), STRUCTURES)

    table = measured([seeing, seeing], [seeing, blind])
    found = [value(table, "unet_dice", "synthetic MR", "AVG", seed) for seed in ("1", "2")]
    # The first seed's images are seen by the second network, the second's by the first.
    assert found == pytest.approx([0, 1], abs=0.01)
    assert value(table, "unet_dice", "CT", "AVG") == pytest.approx(1, abs=0.01)
    assert value(table, "unet_dice", "MR", "AVG") == pytest.approx(0.5, abs=0.01)
    assert value(table, "unet_dice", "MR", "wall", column="n") == 1
    assert not caplog.records
    assert value(measured([blind], [seeing]), "unet_dice", "CT", "AVG") == pytest.approx(0, abs=0.01)
    assert "one seed" in caplog.text


def test_structure_that_the_targets_labels_lack_says_nothing_of_the_networks():
    labels = heart()
    without = np.where(labels == 2, 0, labels).astype(np.uint8)
    unets = quality.UNets([Brightness()], [Brightness()], CPU)

    def measured(*unlabelled):
        images = [(rendered(labels), labels)], [(rendered(labels), without)]
        synthetic = {1: [([rendered(labels)], labels)]}
        return quality.measure(*images, synthetic, unets, ("CT", "MR"), STRUCTURES, unlabelled)

    assert value(measured(), "unet_dice", "MR", "wall") == 0
    table = measured("wall")
    assert math.isnan(value(table, "unet_dice", "MR", "wall"))
    assert value(table, "unet_dice", "MR", "cavity") == pytest.approx(1, abs=0.01)
    assert value(table, "unet_dice", "CT", "wall") == pytest.approx(1, abs=0.01)


def test_target_without_labels_has_only_measures_that_need_none():
    labels = heart()
    source = [described(rendered(labels, seed=seed), labels, [Brightness()]) for seed in (1, 2)]
    target = [described(rendered(labels, seed=seed), 0 * labels, [Brightness()]) for seed in (3, 4)]
    table = assess(source, target, {1: [source]})
    for measure in ("boundary_edge_ratio", "unet_dice", "diversity_intensities", "distance_intensities"):
        assert math.isnan(value(table, measure, "MR", "AVG"))
        assert value(table, measure, "MR", "wall", column="n") == 0
    assert table.query("measure == 'distance_intensities'")["value"].isna().all()
    assert (table.query("measure == 'distance_intensities'")["n"] == 0).all()
    assert math.isnan(value(table, "diversity_l1", "MR", "foreground"))
    for name in ("CT", "MR", "synthetic MR"):
        assert math.isfinite(value(table, "distance_features", name, "crop"))
    assert math.isfinite(value(table, "unet_dice", "synthetic MR", "AVG"))


def test_one_sample_of_one_patient_has_no_diversity():
    labels = heart()
    alone = described(rendered(labels), labels, [Brightness()])
    table = assess([alone], [alone], {1: [[alone]]})
    for measure, structure in [
        ("diversity_l1", "foreground"),
        ("diversity_intensities", "AVG"),
        ("diversity_features", "crop"),
    ]:
        for name in ("CT", "MR", "synthetic MR"):
            assert math.isnan(value(table, measure, name, structure))
            assert value(table, measure, name, structure, column="n") == 0
    assert math.isnan(value(table, "distance_features", "MR", "crop"))
    assert value(table, "distance_intensities", "synthetic MR", "AVG") == 0


def test_structure_that_a_volume_lacks_does_not_count():
    labels = heart()
    without = np.where(labels == 2, 0, labels).astype(np.uint8)
    whole, partial = described(rendered(labels), labels), described(rendered(labels), without)
    table = assess([whole, partial], [whole, partial], {1: [[whole, partial]]})
    assert value(table, "boundary_edge_ratio", "CT", "wall") == pytest.approx(whole.edge_ratios[1])
    assert value(table, "boundary_edge_ratio", "CT", "wall", column="n") == 1
    assert value(table, "boundary_edge_ratio", "CT", "cavity", column="n") == 2
    assert value(table, "distance_intensities", "synthetic MR", "wall", column="n") == 1


def test_one_structure_has_no_average_row():
    labels = (heart() == 1).astype(np.uint8)
    volumes = describe([rendered(labels)], labels, 1, [], CPU)
    table = quality.assess(volumes, volumes, {1: [volumes]}, ("CT", "MR"), ["cavity"])
    assert set(table["structure"]) == {"cavity", "foreground", "crop"}


@pytest.mark.parametrize(
    ("image", "message"),
    [(np.zeros((3, 64, 60)), "shape"), (np.full((3, 64, 64), 1.5), "from -1 to 1"), (np.full((3, 64, 64), -2.0), "-2")],
)
def test_describe_refuses_bad_images(image, message):
    with pytest.raises(InputError, match=message):
        described(volume(image), heart())
