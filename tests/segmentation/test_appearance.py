import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cardioseg.segmentation import appearance

CPU = torch.device("cpu")
CAVITY, WALL, OTHER = 1, 2, 3
SCAR = {
    "structure": WALL,
    "blood": CAVITY,
    "probability": 1,
    "half_width_degrees": [15, 90],
    "transmurality": [0.3, 1.1],
    "brightness": [0.8, 1.5],
    "dark_core": 0.5,
}
NULLED = {"structure": WALL, "blood": CAVITY, "share": [0.1, 0.8]}
EVERYTHING = {
    "own_curves": 0.7,
    "downward": [0.3, 0, 0.3, 0],
    "nulled": NULLED,
    "scar": SCAR,
    "bias": 0.25,
    "noise": 0.08,
    "blur_pixels": 1,
    "percentiles": [1, 99],
}
ONE_CURVE = EVERYTHING | {
    "own_curves": 0,
    "nulled": None,
    "scar": None,
    "bias": 0,
    "noise": 0,
    "blur_pixels": 0,
    "percentiles": [0, 100],
}


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def rings(count=3, size=48, inner=8.0, outer=14.0):
    """Images and labels of a cavity in a wall: bright, dark and grey outside, with some texture."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    radius = torch.hypot(y - 22.0, x - 25.0)
    labels = torch.where(radius < inner, CAVITY, torch.where(radius <= outer, WALL, 0)).expand(count, -1, -1)
    images = torch.tensor([0.0, 0.6, -0.7])[labels] + 0.1 * torch.randn(labels.shape, generator=random(9))
    return images[:, None].clamp(-1, 1), labels.contiguous()


@given(st.integers(0, 10000))
def test_images_stay_images(seed):
    images, labels = rings()
    shown = appearance.randomise(images, labels, EVERYTHING, random(seed))
    assert shown.shape == images.shape and shown.dtype == torch.float32
    assert shown.isfinite().all() and shown.min() >= -1 and shown.max() <= 1


def test_the_draws_decide_and_slices_differ():
    images, labels = rings()
    shown = appearance.randomise(images, labels, EVERYTHING, random(3))
    assert torch.equal(shown, appearance.randomise(images, labels, EVERYTHING, random(3)))
    assert not torch.equal(shown, appearance.randomise(images, labels, EVERYTHING, random(4)))
    assert not torch.equal(shown[0], shown[1])


@given(st.integers(0, 10000))
def test_one_curve_keeps_the_order_of_intensities(seed):
    images, labels = rings(1)
    shown = appearance.randomise(images, labels, ONE_CURVE, random(seed))
    ordered = shown.flatten()[images.flatten().argsort()]
    assert (ordered.diff() >= -1e-5).all()


def test_curves_are_linear_between_their_knots():
    images, curves = torch.rand((2, 1, 7, 5), generator=random()), torch.rand((2, 3, 6), generator=random(1))
    found = appearance.apply_curves(images, curves)
    for image in range(2):
        for of in range(3):
            expected = np.interp(images[image, 0], np.linspace(0, 1, 6), curves[image, of])
            np.testing.assert_allclose(found[image, of], expected, atol=1e-6)
    assert torch.equal(appearance.apply_curves(torch.ones(2, 1, 1, 1), curves).flatten(1), curves[..., -1])


@given(st.integers(0, 10000))
def test_curves_fall_only_where_they_may(seed):
    settings = EVERYTHING | {"own_curves": 1, "downward": [1, 0]}
    steps = appearance.draw_curves(5, settings, random(seed)).diff(dim=-1)
    assert (steps[:, 0] <= 0).all() and (steps[:, 1] >= 0).all()


def test_without_curves_of_their_own_all_classes_share_one():
    curves = appearance.draw_curves(4, EVERYTHING | {"own_curves": 0}, random())
    assert torch.equal(curves, curves[:, :1].expand(-1, 4, -1))
    assert curves[..., 0].eq(0).all() and curves[..., -1].allclose(torch.ones(()))


def test_soft_masks_are_shares_and_sharp_inside():
    _, labels = rings(2)
    masks = appearance.soft_masks(labels, 4)
    assert masks.sum(dim=1).allclose(torch.ones(()))
    assert masks[0, CAVITY, 22, 25] == pytest.approx(1) and masks[0, OTHER].eq(0).all()
    assert 0.1 < masks[0, CAVITY, 22, 25 + 8] < 0.5


def test_depth_runs_from_the_inner_border_to_the_outer():
    _, labels = rings(1)
    wall = labels == WALL
    depth, angle, radius = appearance.wall_coordinates(wall, labels > 0)
    expected = ((radius - 8) / 6)[wall]
    assert (depth[wall] - expected).abs().max() < 0.25
    assert depth[wall].min() >= 0 and depth[wall].max() <= 1
    assert radius[0, 22, 25] < 0.1
    assert angle[0, 22, 40] == pytest.approx(0, abs=0.01) and angle[0, 40, 25] == pytest.approx(math.pi / 2, abs=0.01)


def shown_in_class(images):
    """Slices as four curves that leave them as they are show them."""
    return ((images + 1) / 2).expand(-1, 4, -1, -1)


def test_a_nulled_wall_has_the_drawn_share_of_the_blood():
    images, labels = rings()
    mapped, masks = shown_in_class(-images), appearance.soft_masks(labels, 4)  # a bright wall around dark blood
    nulled = appearance.null(mapped, masks, NULLED | {"share": [0.4, 0.4]}, random())
    wall, blood = ((masks[:, k] * nulled[:, k]).sum(dim=(1, 2)) / masks[:, k].sum(dim=(1, 2)) for k in (WALL, CAVITY))
    torch.testing.assert_close(wall, 0.4 * blood)
    others = [0, CAVITY, OTHER]
    assert torch.equal(nulled[:, others], mapped[:, others])


def test_a_wall_that_is_dark_enough_stays_as_it_is():
    images, labels = rings()
    mapped = shown_in_class(images)
    nulled = appearance.null(mapped, appearance.soft_masks(labels, 4), NULLED | {"share": [0.9, 0.9]}, random())
    assert torch.equal(nulled, mapped)


@pytest.mark.parametrize("missing", [WALL, CAVITY])
def test_a_slice_without_wall_or_blood_is_not_nulled(missing):
    images, labels = rings()
    labels[1][labels[1] == missing] = 0
    mapped, masks = shown_in_class(-images), appearance.soft_masks(labels, 4)
    nulled = appearance.null(mapped, masks, NULLED, random())
    assert torch.equal(nulled[1], mapped[1]) and not torch.equal(nulled[0], mapped[0])


@given(st.integers(0, 10000))
def test_healthy_walls_are_darker_than_blood_where_they_are_nulled(seed):
    images, labels = rings()
    plain = EVERYTHING | {"scar": None, "bias": 0, "noise": 0, "blur_pixels": 0, "percentiles": [0, 100]}
    shown = appearance.randomise(images, labels, plain, random(seed))[:, 0]
    assert all(
        slice_[of == WALL].mean() < slice_[of == CAVITY].mean() for slice_, of in zip(shown, labels, strict=True)
    )


def painted(images, labels, **changed):
    """Slices with scars, blended, in [0, 1]."""
    masks = appearance.soft_masks(labels, 4)
    scarred = appearance.paint_scars(shown_in_class(images), labels, masks, SCAR | changed, random())
    return (masks * scarred).sum(dim=1)


WHOLE_WALL = {"half_width_degrees": [180, 180], "transmurality": [2, 2], "brightness": [1, 1], "dark_core": 0}


def test_a_slice_without_a_wall_has_no_scar():
    images, labels = rings()
    labels[1] = 0
    shown = painted(images, labels)
    assert shown.isfinite().all()
    torch.testing.assert_close(shown[1], (images[1, 0] + 1) / 2)
    assert not torch.allclose(shown[0], (images[0, 0] + 1) / 2)


def test_scars_lie_in_the_wall():
    images, labels = rings()
    far = torch.nn.functional.max_pool2d((labels == WALL).float()[:, None], 5, 1, 2)[:, 0] == 0
    torch.testing.assert_close(painted(images, labels)[far], ((images + 1) / 2)[:, 0][far])


def test_a_scar_of_the_whole_wall_is_as_bright_as_the_blood_wherever_its_middle_lies():
    images, labels = rings(8)
    wall = appearance.soft_masks(labels, 4)[:, WALL] > 0.95
    blood = float(((images + 1) / 2)[:, 0][labels == CAVITY].mean())
    shown = painted(images, labels, **WHOLE_WALL)
    assert [float(one[inside].mean()) for one, inside in zip(shown, wall, strict=True)] == pytest.approx(
        [blood] * 8, abs=0.1
    )


def test_no_dark_line_separates_blood_from_a_scar_as_bright():
    _, labels = rings()
    # Partial volume: what a scanner shows of a dark wall around bright blood has a soft border.
    images = 2 * (0.8 - 0.7 * appearance.soft_masks(labels, 4)[:, [WALL]]) - 1
    shown = painted(images, labels, **WHOLE_WALL)
    masks = appearance.soft_masks(labels, 4)
    border, scar = (masks[:, CAVITY] > 0.2) & (masks[:, CAVITY] < 0.8), masks[:, WALL] > 0.95
    before = ((images[:, 0] + 1) / 2)[border].mean()
    assert before < 0.5 and shown[border].mean() == pytest.approx(float(shown[scar].mean()), abs=0.05)


def test_dark_cores_are_darker():
    images, labels = rings(8)
    without, with_cores = (painted(images, labels, dark_core=share) for share in (0, 1))
    assert (with_cores <= without + 1e-6).all() and (with_cores < without - 0.1).any()


def test_no_scar_where_its_probability_is_0():
    images, labels = rings()
    curves = torch.tensor([0.1, 0.9, 0.5, 0.7]).view(4, 1, 1)  # so that no class is shown as another one
    mapped, masks = curves * shown_in_class(images), appearance.soft_masks(labels, 4)
    assert torch.equal(appearance.paint_scars(mapped, labels, masks, SCAR | {"probability": 0}, random()), mapped)


def test_scars_leave_the_background_as_it_is():
    images, labels = rings()
    mapped, masks = shown_in_class(images), appearance.soft_masks(labels, 4)
    scarred = appearance.paint_scars(mapped, labels, masks, SCAR, random())
    assert torch.equal(scarred[:, 0], mapped[:, 0])
    assert not torch.equal(scarred[:, CAVITY], mapped[:, CAVITY])


def test_normalisation_sets_the_percentiles():
    images = torch.linspace(3, 7, 101 * 2).repeat(101 * 2, 1)[None, None]
    shown = appearance.normalise(images, [10, 90])
    assert (shown == -1).float().mean() == pytest.approx(0.1, abs=0.02)
    assert (shown == 1).float().mean() == pytest.approx(0.1, abs=0.02)
    assert appearance.normalise(torch.zeros(1, 1, 8, 8), [1, 99]).isfinite().all()


def test_normalisation_goes_by_every_second_pixel_and_does_not_enlarge_noise():
    image = torch.full((1, 1, 8, 8), 100.0)
    image[..., ::2, ::2] = torch.arange(16.0).view(4, 4)
    shown = appearance.normalise(image, [0, 100])[0, 0]
    torch.testing.assert_close(shown[::2, ::2], torch.arange(16.0).view(4, 4) * 2 / 15 - 1)
    assert (shown[1::2] == 1).all()
    # Differences below a thousandth stay what they are.
    faint = torch.zeros(1, 1, 8, 8)
    faint[..., 0, 0] = 1e-4
    assert appearance.normalise(faint, [0, 100]).max() == pytest.approx(-0.8)
