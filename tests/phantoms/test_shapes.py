import numpy as np
import pytest

from cardioseg.phantoms import shapes


def test_texture_is_standardised_and_does_not_depend_on_the_grid() -> None:
    texture = shapes.Texture(np.random.default_rng(0), 10, 20, 60)
    fine = np.arange(0, 500, dtype=np.float32)
    values = texture(fine, fine, 5.0)
    assert abs(values.mean()) < 0.1
    assert values.std() == pytest.approx(1, abs=0.2)
    np.testing.assert_allclose(texture(fine[::4], fine[::2], 5.0), values[::2, ::4], atol=1e-3)


def test_what_is_painted_first_hides_what_comes_after() -> None:
    layers = shapes.Layers((1, 3))
    layers.paint("front", np.array([[1, 0.5, 0]], np.float32))
    back = layers.paint("back", np.array([[1, 1, 0.25]], np.float32))
    np.testing.assert_allclose(back, [[0, 0.5, 0.25]])
    np.testing.assert_allclose(layers.remaining, [[0, 0, 0.75]])
    np.testing.assert_allclose(sum(layers.fractions.values()) + layers.remaining, 1)


def test_distance_to_a_circle_is_exact() -> None:
    x, y = np.array([[0.1, 3, 5, 8]], np.float32), np.zeros((1, 4), np.float32)
    np.testing.assert_allclose(shapes.ellipse(x, y, 5, 5), [[4.9, 2, 0, -3]], atol=1e-3)
