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
        """The entries for which `keep` (bool, (entries,)) holds."""
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
    most = min(width, 4 * k)
    values, latents = largest_per_row(pre, most)
    tokens = torch.arange(n, device=pre.device).unsqueeze(1).expand_as(latents).reshape(-1)
    threshold = values.reshape(-1).topk(n * k, sorted=False).values.min()
    lowest = values.amin(1)
    values, latents = values.reshape(-1), latents.reshape(-1)
    # A token with more candidates than were looked at is searched in full; the threshold
    # can then only rise, so that no other token becomes such a one.
    full = (lowest >= threshold) if most < width else torch.zeros_like(lowest).bool()
    if bool(full.any()):
        rows = full.nonzero().squeeze(1)
        rest = ~full[tokens]
        every = torch.arange(width, device=pre.device)
        tokens = torch.cat([tokens[rest], rows.repeat_interleave(width)])
        latents = torch.cat([latents[rest], every.repeat(len(rows))])
        values = torch.cat([values[rest], pre[rows].reshape(-1)])
    kept = values.topk(n * k, sorted=False).indices
    kept = kept[tokens[kept].argsort(stable=True)]
    return _positive(tokens[kept], latents[kept], values[kept])


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
        centred = tokens - b_dec
        pre = torch.addmm(b_enc.to(dtype), centred.to(dtype), W_enc.to(dtype))
        # Sums are made in the precision of the weights, products perhaps in a lower one.
        code = select(pre).to(W_dec.dtype)
        ctx.save_for_backward(W_enc, W_dec, centred, *_fields(code))
        ctx.ends = ends
        # The largest array of the step serves the backward pass as well.
        ctx.scratch = pre
        n = len(tokens)
        return torch.stack(
            [
                _bag_sum(W_dec, part.latents, part.tokens, part.values, n)
                for part in _split(code, ends)
            ]
        )

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        W_enc, W_dec, centred, *fields = ctx.saved_tensors
        code, scratch = Code(*fields), ctx.scratch
        (grad_parts,) = grads
        grad_W_dec = torch.empty_like(W_dec)
        d_sae = len(W_dec)
        for grad, part, (start, end) in zip(
            grad_parts, _split(code, ctx.ends), pairwise((0, *ctx.ends)), strict=True
        ):
            grad_W_dec[start:end] = _by_latent(grad, part, start, end)
            torch.mm(
                grad.to(scratch.dtype),
                W_dec[start:end].T.to(scratch.dtype),
                out=scratch[:, start:end],
            )
        grad_values = scratch.view(-1)[code.tokens * d_sae + code.latents]
        grad_values = grad_values.to(W_dec.dtype)
        entries = Code(code.tokens, code.latents, grad_values)
        grad_b_enc = grad_values.new_zeros(d_sae).index_add_(0, code.latents, grad_values)
        grad_W_enc = _by_latent(centred, entries, 0, d_sae).T
        # b_dec enters every pre-activation through x - b_dec.
        grad_b_dec = -(W_enc @ grad_b_enc)
        return grad_W_enc, grad_b_enc, grad_W_dec, grad_b_dec, None, None, None, None


def _fields(code: Code) -> tuple[Tensor, Tensor, Tensor]:
    return code.tokens, code.latents, code.values


def _positive(tokens: Tensor, latents: Tensor, values: Tensor) -> Code:
    return Code(tokens, latents, values).where(values > 0)


def _split(code: Code, ends: tuple[int, ...]) -> list[Code]:
    if len(ends) == 1:
        return [code]
    return [
        code.where((code.latents >= start) & (code.latents < end))
        for start, end in pairwise((0, *ends))
    ]


def _by_latent(rows: Tensor, code: Code, start: int, end: int) -> Tensor:
    """Sum over entries of value * rows[token], for each latent of a range."""
    order = code.latents.argsort(stable=True)
    latents = code.latents[order] - start
    return _bag_sum(rows, code.tokens[order], latents, code.values[order], end - start)


def _bag_sum(rows: Tensor, index: Tensor, bag: Tensor, scale: Tensor, bags: int) -> Tensor:
    """Sum of scale * rows[index] within each bag; `bag` ascends."""
    counts = torch.bincount(bag, minlength=bags)
    offsets = counts.cumsum(0) - counts
    return F.embedding_bag(index, rows, offsets, per_sample_weights=scale, mode="sum")
