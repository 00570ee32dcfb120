import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from cardioseg.segmentation import control_points


@given(rows=st.integers(2, 9), columns=st.integers(2, 9), height=st.integers(9, 40), width=st.integers(9, 40))
def test_fields_are_those_of_bicubic_interpolation(rows, columns, height, width):
    points = torch.randn((2, 3, rows, columns), generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    expected = F.interpolate(points, size=(height, width), mode="bicubic", align_corners=True)
    torch.testing.assert_close(control_points.spread(points, (height, width)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("spacing", [3, 8])
def test_a_field_has_its_control_points_values_where_they_lie(spacing):
    points = torch.randn((1, 1, 4, 5), generator=torch.Generator().manual_seed(1))
    field = control_points.spread(points, (3 * spacing + 1, 4 * spacing + 1))
    np.testing.assert_allclose(field[..., ::spacing, ::spacing], points, atol=1e-6)
