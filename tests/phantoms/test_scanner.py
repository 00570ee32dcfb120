import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cardioseg.core.errors import InputError
from cardioseg.phantoms import anatomy, scanner


def test_acquisition_keeps_a_constant_and_drops_frequencies_beyond_k_space() -> None:
    constant = np.full((32, 48), 3, np.float32)
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(scanner.acquire_slice(rng, constant, 1.0, 1.5, 0.0), constant, rtol=1e-5)
    checkerboard = (np.indices((32, 48)).sum(axis=0) % 2).astype(np.float32)
    np.testing.assert_allclose(scanner.acquire_slice(rng, checkerboard, 1.0, 1.5, 0.0), 0.5, rtol=1e-4)


def test_noise_is_rician() -> None:
    rng = np.random.default_rng(0)
    air = scanner.acquire_slice(rng, np.zeros((256, 256), np.float32), 1.0, 1.5, 0.2)
    assert air.mean() == pytest.approx(0.2 * math.sqrt(math.pi / 2), rel=0.02)
    tissue = scanner.acquire_slice(rng, np.full((256, 256), 10, np.float32), 1.0, 1.5, 0.2)
    assert tissue.std() == pytest.approx(0.2, rel=0.03)


def test_motion_turns_the_heart_a_little_about_its_middle() -> None:
    patient = anatomy.draw_anatomy(np.random.default_rng(0))
    rng = np.random.default_rng(1)
    motions = [scanner.draw_motion(rng, patient) for _ in range(200)]
    middle = np.array((0, 0, patient.length / 2, 1))
    for motion in motions:
        np.testing.assert_allclose(motion @ middle, middle, atol=1e-9)
    degrees = np.rad2deg([Rotation.from_matrix(motion[:3, :3]).as_rotvec() for motion in motions])
    np.testing.assert_allclose(degrees.std(axis=0), scanner.TILT_DEGREES, rtol=0.15)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, 50.0])
def test_impossible_matrix_is_refused(scale: float) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="matrix_scale"):
        scanner.draw_acquisition(rng, "LGE", anatomy.draw_anatomy(rng), scale)
