"""Matrix products with bias and activation in one pass, in float32 or bfloat16."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

Activation = Literal["none", "relu", "gelu"]

_ROWS = 1028
"""Rows the layout is chosen for, four cells of 257 tokens; others work as well."""

_APPLY: dict[Activation, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda product: product,
    "relu": torch.relu_,
    "gelu": functional.gelu,
}


class Product(nn.Module):
    """``activation(x @ weight.T + bias)``, accumulated in float32.

    On a CPU it is oneDNN's: bias and activation are applied while the product is in the
    cache, and a row does not depend on the other rows of its batch, so that cells may be
    encoded in any company.

    Parameters
    ----------
    weight : Tensor of float32, (outputs, inputs)
        On the device to compute on. On a CPU copied, into another layout.
    bias : Tensor of float32, (outputs,), or None
        Added in float32 in either precision.
    dtype : {torch.float32, torch.bfloat16}
        What the input, the weight and the result are rounded to.
    activation : {"none", "relu", "gelu"}
        Applied before rounding where oneDNN does it.
    scratch : Tensor of `dtype`, (at least outputs * inputs,), optional
        To rearrange the weight in, of which nothing is kept: memory that is asked for and
        given back for each of many products leaves holes as large as the weights.
    borrowed : bool
        In float32, read the weight where it lies, perhaps in a mapped file: slower, but
        nothing is copied.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        dtype: torch.dtype = torch.float32,
        activation: Activation = "none",
        scratch: torch.Tensor | None = None,
        *,
        borrowed: bool = False,
    ) -> None:
        super().__init__()
        self.dtype, self.activation = dtype, activation
        self.fused = weight.device.type == "cpu" and _fusable(dtype) and not borrowed
        if borrowed:
            # As a parameter it would be copied with the others.
            weight = weight.detach()
        elif self.fused:
            weight = _laid_out(weight, dtype, scratch)
        elif dtype != torch.float32:
            weight, bias = _with_bias_inside(weight, bias, dtype)
        # Not buffers: oneDNN's layout is opaque, and both stay on their device.
        self.weight, self.bias = weight, bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., inputs) to (..., outputs), in the product's precision."""
        if self.fused:
            return torch.ops.mkldnn._linear_pointwise(  # type: ignore[no-any-return]
                x.to(self.dtype), self.weight, self.bias, self.activation, [], "none"
            )
        missing = self.weight.shape[1] - x.shape[-1]
        if missing:
            x = torch.cat([x, x.new_ones((*x.shape[:-1], missing))], dim=-1)
        product = functional.linear(x.to(self.dtype), self.weight, self.bias)
        return _APPLY[self.activation](product)


def _fusable(dtype: torch.dtype) -> bool:
    """Whether this build of torch and this CPU have oneDNN's fused product."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    ops = torch.ops.mkldnn
    if not hasattr(ops, "_linear_pointwise") or not hasattr(ops, "_reorder_linear_weight"):
        return False
    return dtype == torch.float32 or bool(ops._is_mkldnn_bf16_supported())


def _laid_out(
    weight: torch.Tensor, dtype: torch.dtype, scratch: torch.Tensor | None
) -> torch.Tensor:
    """A copy of the weight as oneDNN wants it."""
    if scratch is None:
        plain = weight.to(dtype).contiguous()
    else:
        plain = scratch[: weight.numel()].view(weight.shape).copy_(weight)
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(plain, _ROWS)
    return packed


def _with_bias_inside(
    weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype
) -> tuple[torch.Tensor, None]:
    """Make the bias two more inputs of one: its rounded value and the rest.

    So it is added in the float32 that the product accumulates in.
    """
    if bias is None:
        return weight.to(dtype), None
    high = bias.to(dtype)
    low = (bias - high).to(dtype)
    return torch.cat([weight.to(dtype), high[:, None], low[:, None]], dim=1), None
