import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cardioseg.segmentation import augmentation
from cardioseg.segmentation.augmentation import augment, sampling_grid

NOTHING = {
    "rotation_degrees": 0,
    "scale": 0,
    "shift_pixels": 0,
    "log_gamma": 0,
    "elastic_pixels": 0,
    "elastic_spacing_pixels": 16,
}
EVERYTHING = {
    "rotation_degrees": 30,
    "scale": 0.2,
    "shift_pixels": 5,
    "log_gamma": 0.5,
    "elastic_pixels": 4,
    "elastic_spacing_pixels": 16,
}


CPU = torch.device("cpu")


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=3, shape=(24, 30), seed=1):
    return 2 * torch.rand(count, 1, *shape, generator=random(seed)) - 1


def labels(count=3, shape=(24, 30), seed=2):
    return torch.randint(4, (count, *shape), generator=random(seed)).to(torch.uint8)


def disc(shape=(48, 64), radius=12.0, centre=(0.0, 0.0)):
    """Labels (1, y, x) of a disc, its centre given from the middle of the image."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    distance = np.hypot(y - (shape[0] - 1) / 2 - centre[0], x - (shape[1] - 1) / 2 - centre[1])
    return torch.from_numpy(distance <= radius).long()[None]


@pytest.fixture
def largest(monkeypatch):
    """The largest rotation, scale and gamma instead of a random one."""
    monkeypatch.setattr(
        augmentation, "_uniform", lambda count, largest, generator: torch.full((count,), float(largest))
    )


def in_pixels(grid):
    """A sampling grid (n, y, x, 2) as displaced positions (y, x) in pixels from the image's middle."""
    size = torch.tensor([grid.shape[2], grid.shape[1]])
    return (grid * size / 2).flip(-1).double()


def positions(shape):
    """Positions (y, x) of the pixels from the image's middle."""
    axes = [torch.arange(length, dtype=torch.float64) - (length - 1) / 2 for length in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def test_shift_moves_image_and_labels(largest):
    truth = disc(centre=(2.0, -3.0))
    image = 2 * truth[None].float() - 1
    after, moved = augment(image, truth, NOTHING | {"shift_pixels": 4}, random())
    assert torch.equal(moved, disc(centre=(2.0 - 4, -3.0 - 4)))
    torch.testing.assert_close((after + 1) / 2, moved[None].float(), rtol=0, atol=1e-4)


def test_shifts_are_uniform_and_differ():
    grid = in_pixels(sampling_grid(2000, (8, 8), NOTHING | {"shift_pixels": 3}, random(), CPU))
    shifts = (grid - positions((8, 8)))[:, 0, 0]
    assert shifts.abs().max() <= 3 + 1e-4
    torch.testing.assert_close(
        shifts.std(dim=0), torch.full((2,), 3 / math.sqrt(3), dtype=torch.float64), rtol=0.05, atol=0
    )
    assert abs(np.corrcoef(shifts.T.numpy())[0, 1]) < 0.1


@given(st.tuples(*[st.integers(5, 40)] * 2), st.integers(0, 2**32))
@hypothesis_settings(max_examples=30)
def test_augmentation_of_strength_0_changes_nothing(shape, seed):
    before, truth = images(2, shape, seed), labels(2, shape, seed)
    after, moved = augment(before, truth, NOTHING, random(seed))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4)
    assert torch.equal(moved, truth)


def test_shape_and_type_are_kept():
    after, moved = augment(images(), labels(), EVERYTHING, random())
    assert (after.shape, after.dtype) == ((3, 1, 24, 30), torch.float32)
    assert (moved.shape, moved.dtype) == ((3, 24, 30), torch.uint8)


def test_random_draws_come_only_from_the_generator():
    torch.manual_seed(1)
    first = augment(images(), labels(), EVERYTHING, random(7))
    torch.manual_seed(2)
    second = augment(images(), labels(), EVERYTHING, random(7))
    other = augment(images(), labels(), EVERYTHING, random(8))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])


def test_each_image_is_deformed_in_its_own_way():
    after, moved = augment(images(1).expand(3, -1, -1, -1), labels(1).expand(3, -1, -1), EVERYTHING, random())
    assert len({tuple(image.flatten().tolist()) for image in after}) == 3
    assert len({tuple(truth.flatten().tolist()) for truth in moved}) == 3


@given(st.integers(0, 2**32))
@hypothesis_settings(max_examples=30)
def test_image_and_labels_move_together(seed):
    truth = torch.cat([disc(centre=(-3, 4)), disc(radius=8, centre=(5, -9))])
    after, moved = augment(2 * truth[:, None].float() - 1, truth, EVERYTHING, random(seed))
    inside, outside = after[:, 0] > 0.999, after[:, 0] < -0.999
    # Where all four neighbours of a sample agree, the nearest one does too.
    assert (moved[inside] == 1).all()
    assert (moved[outside] == 0).all()
    assert (inside | outside).float().mean() > 0.85
    assert moved.sum() > 100


@pytest.mark.parametrize("contraction", [None, {"cavity": 1, "wall": 2, "narrowing": [0.3, 0.3]}])
def test_maps_beside_the_labels_move_with_them(contraction):
    alone = augment(images(), labels(), EVERYTHING, random(3), contraction)
    maps = torch.stack([labels(), 2 * labels() + 0.5], dim=1)
    shown, moved = augment(images(), maps, EVERYTHING, random(3), contraction)
    assert torch.equal(shown, alone[0])
    assert torch.equal(moved[:, 0], alone[1].float())
    assert torch.equal(moved[:, 1], 2 * alone[1] + 0.5)


@given(st.integers(0, 2**32))
@hypothesis_settings(max_examples=30)
def test_values_stay_in_their_range(seed):
    truth = torch.tensor([0, 1, 3], dtype=torch.uint8)[torch.randint(3, (2, 24, 30), generator=random(seed))]
    after, moved = augment(images(2), truth, EVERYTHING, random(seed))
    assert after.isfinite().all()
    assert after.abs().max() <= 1
    assert set(moved.unique().tolist()) <= {0, 1, 3}


@pytest.mark.parametrize("value", [-1.0 - 1e-6, -1.0, 1.0, 1.0 + 1e-6])
def test_a_constant_image_stays_constant(value):
    """Rounding may carry intensities out of the range, where a power is not a number."""
    after = augment(torch.full((8, 1, 64, 64), value), labels(8, (64, 64)), EVERYTHING, random())[0]
    torch.testing.assert_close(after, torch.full_like(after, value), rtol=0, atol=1e-4)


@pytest.mark.usefixtures("largest")
def test_rotation_by_a_known_angle():
    before, truth = images(shape=(24, 24)), labels(shape=(24, 24))
    after, moved = augment(before, truth, NOTHING | {"rotation_degrees": 90}, random())
    torch.testing.assert_close(after, before.rot90(1, (2, 3)), rtol=0, atol=1e-4)
    assert torch.equal(moved, truth.rot90(1, (1, 2)))


@pytest.mark.usefixtures("largest")
def test_rotation_of_an_image_that_is_not_square():
    settings = NOTHING | {"rotation_degrees": 90}
    truth = disc((40, 60), 8, centre=(0, 11))
    moved = augment(2 * truth[:, None].float() - 1, truth, settings, random())[1]
    # About the centre: a disc 11 pixels to the right comes to lie 11 pixels above, and stays round.
    assert torch.equal(moved, disc((40, 60), 8, centre=(-11, 0)))


@pytest.mark.usefixtures("largest")
def test_scale_by_a_known_factor():
    truth = labels(shape=(24, 32))
    moved = augment(images(shape=(24, 32)), truth, NOTHING | {"scale": 1}, random())[1]
    middle = truth[:, 6:18, 8:24]
    assert torch.equal(moved, middle.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2))


def test_rotation_and_scale_are_drawn_up_to_their_largest():
    shape = (24, 40)
    grid = in_pixels(sampling_grid(400, shape, NOTHING | {"rotation_degrees": 30, "scale": 0.25}, random(), CPU))
    here = positions(shape).flatten(0, 1)
    assert (grid.mean((1, 2)).abs() < 1e-4).all()  # the centre stays
    matrix = torch.linalg.lstsq(here.expand(400, -1, -1), grid.flatten(1, 2)).solution.mT
    scale = matrix.det().rsqrt()
    rotation = matrix * scale[:, None, None]
    torch.testing.assert_close(
        rotation @ rotation.mT, torch.eye(2, dtype=torch.float64).expand(400, 2, 2), rtol=0, atol=1e-4
    )
    angle = torch.rad2deg(torch.atan2(rotation[:, 0, 1], rotation[:, 0, 0]))
    assert angle.abs().max() <= 30.001
    assert angle.min() < -29
    assert angle.max() > 29
    assert angle.mean().item() == pytest.approx(0, abs=3)
    assert 1 / 1.2501 <= scale.min() < 1 / 1.24
    assert 1.24 < scale.max() <= 1.2501
    assert scale.log().mean().item() == pytest.approx(0, abs=0.02)


def test_elastic_displacement_has_its_size_in_pixels():
    shape = (33, 65)
    settings = NOTHING | {"elastic_pixels": 3, "elastic_spacing_pixels": 16}
    grid = in_pixels(sampling_grid(500, shape, settings, random(), CPU))
    displacement = grid - positions(shape)
    # The corners are control points.
    corners = displacement[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert torch.allclose(corners.std(dim=(0, 1)), torch.tensor(3.0, dtype=torch.float64), rtol=0.08)
    assert displacement.mean().item() == pytest.approx(0, abs=0.1)
    # Smooth between them: neighbours move almost together, those a spacing apart do not.
    assert displacement.diff(dim=2).std() < 0.15 * displacement.std()
    apart = displacement[:, :, 16:] - displacement[:, :, :-16]
    assert apart.std() > displacement.std()


@pytest.mark.usefixtures("largest")
def test_gamma_by_hand():
    before = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]).view(1, 1, 1, 5).expand(1, 1, 5, 5)
    truth = labels(1, (5, 5))
    after, moved = augment(before, truth, NOTHING | {"log_gamma": math.log(2)}, random())
    expected = 2 * torch.tensor([0, 0.25, 0.5, 0.75, 1]) ** 2 - 1
    torch.testing.assert_close(after[0, 0], expected.expand(5, 5), rtol=0, atol=1e-5)
    assert torch.equal(moved, truth)


@given(st.integers(0, 2**32))
@hypothesis_settings(max_examples=20)
def test_gamma_keeps_the_order(seed):
    before = torch.linspace(-1, 1, 64).view(1, 1, 1, 64).expand(2, 1, 8, 64)
    after = augment(before, labels(2, (8, 64)), NOTHING | {"log_gamma": 0.7}, random(seed))[0]
    assert (after.diff(dim=-1) > 0).all()
    torch.testing.assert_close(after[..., [0, -1]], before[..., [0, -1]], rtol=0, atol=1e-5)


def test_gamma_is_drawn_up_to_its_largest():
    grey = torch.zeros(400, 1, 4, 4)
    after = augment(grey, labels(400, (4, 4)), NOTHING | {"log_gamma": 0.7}, random())[0]
    log_gamma = torch.log(-torch.log2((after[:, 0, 0, 0] + 1) / 2))  # of brightness 1/2
    assert -0.7001 <= log_gamma.min() < -0.68
    assert 0.68 < log_gamma.max() <= 0.7001
    assert log_gamma.mean().item() == pytest.approx(0, abs=0.06)


def ring(inner=12.0, outer=20.0, centre=(3.0, -5.0)):
    """Labels (1, y, x): a cavity (1) in a wall (2)."""
    return 2 * disc((64, 80), outer, centre) - disc((64, 80), inner, centre)


def contracted(labels, narrowing, seed=0):
    settings = {"cavity": 1, "wall": 2, "narrowing": narrowing}
    images = labels[:, None].float() / 2
    return augment(images, labels, NOTHING, random(seed), settings)


def radius(mask):
    return math.sqrt(float(mask.sum()) / math.pi)


def test_contraction_divides_the_cavitys_radius_and_keeps_the_outside():
    _, found = contracted(ring(), [0.5, 0.5])
    assert radius(found == 1) == pytest.approx(12 / 1.5, abs=0.2)
    # The wall's outside gives way by what a tenth of its radius takes up: 22 stays, 20 comes from 8 + 8 * 14 / 10.
    assert radius(found > 0) == pytest.approx(19.2, abs=0.2)


def test_contraction_below_zero_widens_the_cavity():
    _, found = contracted(ring(), [-0.2, -0.2])
    assert radius(found == 1) == pytest.approx(12 / 0.8, abs=0.2)


def test_contraction_moves_image_and_labels_alike():
    image, found = contracted(ring(), [0.4, 0.4])
    assert ((image[:, 0] * 2).round() != found).float().mean() < 0.03


@pytest.mark.parametrize("labels", [disc((64, 80)), 2 * disc((64, 80)), torch.zeros(1, 64, 80).long()])
def test_slices_without_cavity_and_wall_do_not_contract(labels):
    assert torch.equal(contracted(labels, [0.5, 0.5])[1], labels)


def test_contraction_leaves_what_lies_beyond_the_wall():
    labels = ring()
    labels[:, :, 60:] = 3
    found = contracted(labels, [0.5, 0.5])[1]
    assert torch.equal(found == 3, labels == 3)


def test_contraction_differs_from_slice_to_slice_and_follows_the_generator():
    labels = ring().expand(4, -1, -1)
    found = contracted(labels, [0, 0.8])[1]
    assert len({int((slice_ == 1).sum()) for slice_ in found}) == 4
    assert torch.equal(found, contracted(labels, [0, 0.8])[1])


def test_contraction_lies_between_its_limits():
    found = contracted(ring().expand(40, -1, -1), [0.2, 0.6])[1]
    narrowing = [12 / radius(labels == 1) - 1 for labels in found]
    assert min(narrowing) == pytest.approx(0.2, abs=0.05)
    assert max(narrowing) == pytest.approx(0.6, abs=0.05)
