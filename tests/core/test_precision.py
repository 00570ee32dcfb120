import pytest
import torch

from cardioseg.core import precision


def allowed():
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision


@pytest.mark.parametrize(("name", "expected"), [("float32", "ieee"), ("bfloat16", "ieee"), ("tf32", "tf32")])
def test_tf32_only_where_asked_for(name, expected):
    before = allowed()
    with pytest.raises(ZeroDivisionError), precision.products(name):
        assert allowed() == (expected, expected)
        raise ZeroDivisionError
    assert allowed() == before


@pytest.mark.parametrize(
    ("name", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("tf32", torch.float32)]
)
def test_forward_pass_gives_the_type_of_its_precision(name, expected):
    with precision.forward_pass(name, torch.device("cpu")):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == expected
    assert precision.at_least_float32(product).dtype == torch.float32


def test_a_processor_without_units_for_bfloat16_computes_in_float32(monkeypatch):
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: False)
    with precision.forward_pass("bfloat16", torch.device("cpu")):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == torch.float32


def test_at_least_float32_keeps_more_exact_numbers():
    assert precision.at_least_float32(torch.ones(1, dtype=torch.float64)).dtype == torch.float64
