import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cardioseg.core.volumes import Volume
from cardioseg.preprocessing import cropping, localisation
from cardioseg.preprocessing.localisation import Location, locate

SETTINGS = {"spacing_mm": 2.5, "percentiles": [0, 100], "width": 4, "depth": 2}
CPU = torch.device("cpu")


class Bright(nn.Module):
    """Labels bright pixels as heart; its classes alternate by column."""

    stride = 4

    def forward(self, image):
        bright = (image > 0.2).float()
        odd = torch.arange(image.shape[-1]) % 2
        return torch.cat([0.5 - bright, bright * odd, bright * (1 - odd)], dim=1)


def volume(discs, shape=(6, 150, 120), spacing=(8.0, 0.8, 1.1), turned=False):
    """Discs of (slices, (y, x) in mm from the first pixel, radius in mm) on a dark image."""
    array = np.zeros(shape, np.float32)
    y, x = np.ogrid[: shape[1], : shape[2]]
    for where, centre, radius in discs:
        array[where, np.hypot(y * spacing[1] - centre[0], x * spacing[2] - centre[1]) <= radius] = 1
    array += 0.05 * np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    affine = np.diag([*spacing[::-1], 1.0])
    if turned:
        cosine, sine = np.cos(0.7), np.sin(0.7)
        affine = np.array([[cosine, 0, sine, 30], [0, -1, 0, -12], [-sine, 0, cosine, 5], [0, 0, 0, 1]]) @ affine
    return Volume(array, affine)


def centre_mm(location, image):
    return np.array(location.centre) * image.spacing[1:]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("centre", [(50.0, 60.0), (95.0, 40.0), (20.0, 20.0)])
def test_finds_a_disc_within_a_pixel(centre, turned):
    image = volume([(slice(1, 5), centre, 15.0)], turned=turned)
    location = locate(image, Bright(), SETTINGS, CPU)
    assert location.found
    assert np.abs(centre_mm(location, image) - centre).max() < 0.8


def test_heart_in_a_single_slice_suffices():
    image = volume([(2, (50.0, 60.0), 20.0)])
    location = locate(image, Bright(), SETTINGS, CPU)
    assert location.found
    assert np.abs(centre_mm(location, image) - (50, 60)).max() < 0.8


def test_centre_is_that_of_the_sum_over_slices():
    """Overlapping discs: three slices about x = 50 weigh more than one about x = 58."""
    image = volume([(slice(0, 3), (60.0, 50.0), 20.0), (3, (60.0, 58.0), 20.0)])
    location = locate(image, Bright(), SETTINGS, CPU)
    assert np.abs(centre_mm(location, image) - (60, 52)).max() < 0.8


@pytest.mark.parametrize(("small", "large"), [((30.0, 40.0), (80.0, 90.0)), ((80.0, 90.0), (30.0, 40.0))])
def test_centre_is_that_of_the_piece_with_the_largest_sum(small, large):
    """A small disc in every slice outweighs a larger one in a single slice."""
    image = volume([(slice(0, 6), small, 14.0), (0, large, 22.0)])
    location = locate(image, Bright(), SETTINGS, CPU)
    assert np.abs(centre_mm(location, image) - small).max() < 0.8


def test_heart_of_less_than_four_square_centimetres_counts_as_not_found():
    """400 mm2 over all slices are 64 coarse pixels."""
    found, missed = (volume([(2, (50.0, 60.0), radius)]) for radius in (13.0, 10.0))
    assert locate(found, Bright(), SETTINGS, CPU).found
    assert locate(missed, Bright(), SETTINGS, CPU) == Location((75.0, 60.0), found=False)


def test_centre_of_the_image_is_used_where_no_heart_is_found():
    class Nothing(nn.Module):
        stride = 4

        def forward(self, image):
            return torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(len(image), 3, *image.shape[-2:])

    image = volume([(slice(1, 5), (50.0, 60.0), 15.0)])
    location = locate(image, Nothing(), SETTINGS, CPU)
    assert location == Location((75.0, 60.0), found=False)
    # A crop about it is the middle of the image.
    assert np.array_equal(cropping.crop(image, location.centre, 60, 0).array, image.array[:, 45:105, 30:90])


class Hesitant(nn.Module):
    """Gives bright pixels to the first structure by a score of `score` more than to the background; nothing else."""

    stride = 4

    def __init__(self, score, structures=1):
        super().__init__()
        self.score, self.structures = score, structures

    def forward(self, image):
        bright = image > 0.2
        first = torch.where(bright, self.score, -50.0)
        return torch.cat([torch.zeros_like(first), first, *[first * 0 - 50] * (self.structures - 1)], dim=1)


@pytest.mark.parametrize(("score", "probability"), [(1.0, 0.7311), (50.0, 1.0)])
def test_likeness_by_hand(score, probability):
    """The Dice between n pixels and their probability p is 2 p n / (p n + n)."""
    image = volume([(slice(1, 5), (50.0, 60.0), 15.0)])
    expected = 2 * probability / (1 + probability)
    assert localisation.likeness(image, Hesitant(score), SETTINGS, CPU) == pytest.approx(expected, abs=1e-4)
    # A structure that is not found is not like anything.
    assert localisation.likeness(image, Hesitant(score, 2), SETTINGS, CPU) == pytest.approx(expected / 2, abs=1e-4)


def test_likeness_is_0_where_no_heart_is_found():
    image = volume([(slice(1, 5), (50.0, 60.0), 15.0)])
    assert localisation.likeness(image, Hesitant(-1.0), SETTINGS, CPU) == 0


def test_prepared_image_suits_the_network():
    image = volume([(slice(1, 5), (50.0, 60.0), 15.0)])
    prepared = localisation.prepare(image, SETTINGS, 16)
    assert prepared.array.shape == (6, 64, 64)  # 120 mm and 132 mm in pixels of 2.5 mm: 48 and 53
    assert prepared.array.dtype == np.float32
    assert prepared.spacing == pytest.approx((8, 2.5, 2.5))
    assert prepared.array.min() == -1
    assert prepared.array.max() == 1
    assert (prepared.array[:, :8] == -1).all()
    unet = localisation.network(SETTINGS, 4)
    assert isinstance(locate(image, unet, SETTINGS, CPU), Location)


def test_network_has_instance_norm_and_no_dropout():
    unet = localisation.network(SETTINGS, 4)
    norm = unet.down[0][1]
    features = 3 + 2 * torch.randn(2, norm.num_channels, 5, 7, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(norm(features), F.instance_norm(features))
    assert nn.BatchNorm2d not in {type(module) for module in unet.modules()}
    assert unet.dropout.p == 0
    assert unet.head.out_channels == 4


def test_training_slices_keep_images_and_labels_together():
    volumes = [
        volume([(slice(1, 5), (50.0, 60.0), 15.0)]),
        volume([(slice(0, 2), (90.0, 40.0), 20.0)], shape=(3, 260, 300), turned=True),
    ]
    labels = [Volume((image.array > 0.5).astype(np.uint8), image.affine) for image in volumes]
    images, truth = localisation.training_slices(volumes, labels, SETTINGS, 2, 4)
    size = 132  # 300 columns of 1.1 mm
    assert images.shape == truth.shape == (9, size, size)
    assert (images.dtype, truth.dtype) == (np.float32, np.uint8)
    assert images.min() >= -1
    assert images.max() <= 1
    assert ((images > 0) == truth).mean() > 0.999
    for first, last, original in ((0, 6, labels[0]), (6, 9, labels[1])):
        area = original.array.sum(axis=(1, 2)) * original.spacing[1] * original.spacing[2]
        np.testing.assert_allclose(truth[first:last].sum(axis=(1, 2)) * 2.5**2, area, rtol=0.05)


def test_image_of_one_stride_is_learnt_from_and_located():
    """A norm over the single pixel that one stride becomes would stop the network."""
    image = volume([(0, (10.0, 10.0), 5.0)], shape=(1, 20, 20), spacing=(8.0, 1.0, 1.0))
    unet = localisation.network(SETTINGS | {"depth": 4}, 2)
    slices, truth = localisation.training_slices(
        [image], [Volume((image.array > 0.5).astype(np.uint8), image.affine)], SETTINGS, 2, unet.stride
    )
    assert slices.shape == truth.shape == (1, 32, 32)
    assert unet.train()(torch.from_numpy(slices)[:, None]).isfinite().all()
    locate(image, unet, SETTINGS, CPU)
