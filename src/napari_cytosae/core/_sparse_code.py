"""Codes of which each token keeps only a few latents, trained without dense gradients.

With k of d_sae latents kept, all that is dense in a training step is the one product
that finds them. Reconstruction and weight gradients then touch k rows a token, as sums
over bags of rows (`torch.nn.functional.embedding_bag`), which runs wherever torch does.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

# Groups a row is cut into before its largest entries are looked for.
_GROUP = 8


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """The kept entries of an (n, d_sae) code, all greater than zero.

    Attributes
    ----------
    tokens, latents : Tensor of int64, (entries,)
        Row and column of each entry; ordered by token.
    values : Tensor of float32, (entries,)
    """

    tokens: Tensor
    latents: Tensor
    values: Tensor

    def where(self, keep: Tensor) -> Code:
        """Some of the entries, by a mask or by places."""
        return Code(self.tokens[keep], self.latents[keep], self.values[keep])

    def to(self, dtype: torch.dtype) -> Code:
        """The same entries, their values in another precision."""
        return Code(self.tokens, self.latents, self.values.to(dtype))


def largest_per_row(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest entries of each row, unordered: values and columns, (n, k) each.

    Exactly `torch.topk`, faster for long rows: the k largest lie in the k groups with the
    largest maxima, so only these are searched.
    """
    n, width = values.shape
    if width % _GROUP or k * _GROUP >= width:
        found = values.topk(k, dim=1, sorted=False)
        return found.values, found.indices
    groups = width // _GROUP
    best = values.view(n, _GROUP, groups).amax(1).topk(k, dim=1, sorted=False).indices
    member = torch.arange(_GROUP, device=values.device).view(1, -1, 1) * groups
    candidates = (best.unsqueeze(1) + member).view(n, -1)
    found = values.gather(1, candidates).topk(k, dim=1, sorted=False)
    return found.values, candidates.gather(1, found.indices)


def keep_per_token(pre: Tensor, k: int) -> Code:
    """TopK: the k largest pre-activations of each token, where positive.

    Parameters
    ----------
    pre : Tensor, (n, d_sae)
        Pre-activations.
    k : int
        Kept entries a token.
    """
    values, latents = largest_per_row(pre, k)
    tokens = torch.arange(len(pre), device=pre.device).unsqueeze(1).expand_as(latents)
    return _positive(tokens.reshape(-1), latents.reshape(-1), values.reshape(-1))


def keep_per_batch(pre: Tensor, k: int) -> Code:
    """BatchTopK: the n * k largest pre-activations of all n tokens, where positive.

    Parameters
    ----------
    pre : Tensor, (n, d_sae)
        Pre-activations.
    k : int
        Kept entries a token on average.
    """
    n, width = pre.shape
    size = _GROUP if width % _GROUP == 0 and k * _GROUP < width else 1
    groups = width // size
    # An entry among the largest lies in a group whose maximum is among the largest.
    best = pre.view(n, size, groups).amax(1).view(-1).topk(n * k, sorted=False).indices
    first = best // groups * width + best % groups
    candidates = first.unsqueeze(1) + torch.arange(size, device=pre.device) * groups
    candidates = candidates.view(-1)
    found = pre.view(-1)[candidates].topk(n * k, sorted=False).indices
    places = candidates[found].sort().values
    return _positive(places // width, places % width, pre.view(-1)[places])


def partial_reconstructions(
    weights: tuple[Tensor, Tensor, Tensor, Tensor],
    tokens: Tensor,
    select: Callable[[Tensor], Code],
    ends: Sequence[int],
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Code]:
    """Decode the selected code latent range by latent range, differentiably.

    Parameters
    ----------
    weights : tuple of Tensor
        ``W_enc`` (d, d_sae), ``b_enc``, ``W_dec`` (d_sae, d), ``b_dec``.
    tokens : Tensor of float32, (n, d)
        No gradient flows to them.
    select : callable
        Pre-activations (n, d_sae) -> the entries to keep.
    ends : sequence of int
        Ends of consecutive latent ranges; the last is d_sae.
    dtype : torch.dtype
        Of the encoder's product.

    Returns
    -------
    parts : Tensor of float32, (len(ends), n, d)
        Contribution of each range to the reconstruction, without ``b_dec``.
    code : Code
    """
    found: list[Code] = []

    def remember(pre: Tensor) -> Code:
        found.append(select(pre))
        return found[0]

    parts = cast("Tensor", _Parts.apply(*weights, tokens, remember, tuple(ends), dtype))
    return parts, found[0]


class _Parts(torch.autograd.Function):
    """Encode, select and decode; the gradient of an entry is that of its value."""

    @staticmethod
    def forward(
        ctx: Any,
        W_enc: Tensor,
        b_enc: Tensor,
        W_dec: Tensor,
        b_dec: Tensor,
        tokens: Tensor,
        select: Callable[[Tensor], Code],
        ends: tuple[int, ...],
        dtype: torch.dtype,
    ) -> Tensor:
        n = len(tokens)
        centred = tokens - b_dec
        pre = torch.addmm(b_enc.to(dtype), centred.to(dtype), W_enc.to(dtype))
        # Sums are made in the precision of the weights, products perhaps in a lower one.
        code = select(pre).to(W_dec.dtype)
        parts = torch.bucketize(code.latents, code.latents.new_tensor(ends), right=True)
        row = parts * n + code.tokens
        if len(ends) > 1:
            row, order = row.sort(stable=True)
            code = code.where(order)
        ctx.save_for_backward(W_enc, W_dec, centred, code.latents, code.values, row)
        ctx.ends = ends
        # The largest array of the step serves the backward pass as well.
        ctx.scratch = pre
        sums = _bag_sum(W_dec, code.latents, row, code.values, len(ends) * n)
        return sums.view(len(ends), n, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        W_enc, W_dec, centred, latents, values, row = ctx.saved_tensors
        (grad_parts,) = grads
        scratch = ctx.scratch
        n, d_sae = scratch.shape
        tokens = row % n
        for grad, (start, end) in zip(grad_parts, pairwise((0, *ctx.ends)), strict=True):
            decoder = W_dec[start:end].T.to(scratch.dtype)
            torch.mm(grad.to(scratch.dtype), decoder, out=scratch[:, start:end])
        grad_values = scratch.view(-1)[tokens * d_sae + latents].to(W_dec.dtype)
        grad_b_enc = grad_values.new_zeros(d_sae).index_add_(0, latents, grad_values)
        latents, order = latents.sort(stable=True)
        grad_rows = grad_parts.reshape(-1, W_dec.shape[1])
        grad_W_dec = _bag_sum(grad_rows, row[order], latents, values[order], d_sae)
        grad_W_enc = _bag_sum(centred, tokens[order], latents, grad_values[order], d_sae).T
        # b_dec enters every pre-activation through x - b_dec.
        grad_b_dec = -(W_enc @ grad_b_enc)
        return grad_W_enc, grad_b_enc, grad_W_dec, grad_b_dec, None, None, None, None


def _positive(tokens: Tensor, latents: Tensor, values: Tensor) -> Code:
    return Code(tokens, latents, values).where(values > 0)


def _bag_sum(rows: Tensor, index: Tensor, bag: Tensor, scale: Tensor, bags: int) -> Tensor:
    """Sum of scale * rows[index] within each bag; `bag` ascends."""
    counts = torch.bincount(bag, minlength=bags)
    offsets = counts.cumsum(0) - counts
    return F.embedding_bag(index, rows, offsets, per_sample_weights=scale, mode="sum")
