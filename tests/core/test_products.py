"""The products of both paths, oneDNN's and torch's, against numpy in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import erf

from napari_cytosae.core import _products
from napari_cytosae.core._products import Product

ROWS, D_IN, D_OUT = 257, 96, 200
# A result is rounded once: by half a unit in the last place of its precision.
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2.0**-8}
NUMPY = {
    "none": lambda product: product,
    "relu": lambda product: np.maximum(product, 0),
    "gelu": lambda product: product * (1 + erf(product / np.sqrt(2))) / 2,
}


@pytest.fixture(params=["oneDNN", "plain"])
def path(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setattr(_products, "_fusable", lambda dtype: False)
    elif not (_products._fusable(torch.float32) and _products._fusable(torch.bfloat16)):
        pytest.skip("this torch or this CPU has no fused products")
    return request.param


def parts(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, ROWS, D_IN, generator=generator)
    weight = torch.randn(D_OUT, D_IN, generator=generator) / D_IN**0.5
    # Biases that bfloat16 would round by as much as the products are large.
    bias = 300 + torch.randn(D_OUT, generator=generator)
    return x, weight, bias


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize("biased", [True, False])
def test_formula(path, dtype, activation, biased):
    x, weight, bias = parts()
    if not biased:
        bias = torch.zeros(D_OUT)
    elif activation != "none":
        bias = bias - 300.5
    product = Product(weight, bias if biased else None, dtype, activation)
    assert product.fused == (path == "oneDNN")
    got = product(x)
    assert got.dtype == dtype
    rounded = [t.to(dtype).double().numpy() for t in (x, weight)]
    exact = rounded[0] @ rounded[1].T + bias.double().numpy()
    expected = NUMPY[activation](exact)
    # Without oneDNN gelu sees a product that is rounded already.
    slack = 3 * ROUNDING[dtype] * np.abs(exact) if activation == "gelu" else 0
    off = np.abs(got.double().numpy() - expected)
    assert (off <= ROUNDING[dtype] * np.abs(expected) + slack + 1e-5).all()


@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_a_layout_changes_nothing(path, layout):
    x, weight, bias = parts()
    laid = weight if layout == "rows" else weight.t().contiguous().t()
    torch.testing.assert_close(Product(laid, bias)(x), Product(weight, bias)(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_does_not_depend_on_its_company(dtype):
    """What lets cells be kept on disk one by one, whatever batch they came in."""
    if not _products._fusable(dtype):
        pytest.skip("this torch or this CPU has no fused products")
    x, weight, bias = parts()
    for laid in (weight, weight.t().contiguous().t()):
        product = Product(laid, bias, dtype, "relu")
        together = product(x)
        for cell in range(3):
            assert torch.equal(product(x[cell : cell + 1])[0], together[cell])
        assert torch.equal(product(x[1:]), together[1:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_may_share_a_scratch(path, dtype):
    """Weights that have to be rearranged, one after the other in the same memory."""
    scratch = torch.empty(D_OUT * D_IN + 5, dtype=dtype)
    x = parts()[0]
    columns = [parts(seed)[1].t().contiguous().t() for seed in (1, 2)]
    shared = [Product(weight, None, dtype, scratch=scratch) for weight in columns]
    alone = [Product(weight, None, dtype) for weight in columns]
    scratch.fill_(torch.nan)
    for ours, theirs in zip(shared, alone, strict=True):
        assert torch.equal(ours(x), theirs(x))
