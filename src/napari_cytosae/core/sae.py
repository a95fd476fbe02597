"""Sparse autoencoders: tokens in, latents out, in the four kinds in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_cytosae.core.checkpoints import SaeFile

CHUNK = 1024
"""Latents computed at a time: their pre-activations stay in the cache."""


def slices(count: int, size: int = CHUNK) -> Iterator[slice]:
    """Cut `count` things, latents by default, into runs of `size`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


class Sae(nn.Module):
    """One SAE, frozen.

    ``pre = (x - b_dec) @ W_enc + b_enc`` and ``x_hat = f @ W_dec + b_dec``, with

    ========= =======================================================================
    relu      ``f = max(pre, 0)``
    topk      ``f = max(pre, 0)`` for the k largest `pre` of a token, else 0
    batchtopk ``f = pre`` where ``pre > threshold``, one number for all latents, else 0
    jumprelu  ``f = pre`` where ``pre > threshold``, one number a latent, else 0
    ========= =======================================================================

    Thresholds below 0 count as 0: activations are never negative.

    Parameters
    ----------
    file : SaeFile
        As `checkpoints.open_sae` gives it; tensors are taken, not copied.
    """

    W_enc: torch.Tensor
    b_enc: torch.Tensor
    W_dec: torch.Tensor
    b_dec: torch.Tensor
    threshold: torch.Tensor

    def __init__(self, file: SaeFile) -> None:
        super().__init__()
        self.info = file.info
        for name, tensor in file.tensors.items():
            self.register_buffer(name, tensor)
        if "threshold" not in file.tensors:
            self.register_buffer("threshold", torch.zeros(()))

    def require(self, concepts: Sequence[int]) -> None:
        """Check that all of some concepts exist.

        Raises
        ------
        CytoError
            One does not.
        """
        for concept in concepts:
            if not 0 <= concept < self.info.d_sae:
                raise CytoError(
                    f"{self.info.name} has no concept {concept}; its concepts are 0 to "
                    f"{self.info.d_sae - 1}."
                )

    def to_bfloat16(self) -> None:
        """Encode in bfloat16 from now on; the bias keeps its precision.

        The bias becomes two more rows of the encoder, its bfloat16 value and the rest, so
        that it is added in the float32 the product accumulates in.
        """
        high = self.b_enc.bfloat16()
        low = (self.b_enc - high.float()).bfloat16()
        self.W_enc = torch.cat([self.W_enc.bfloat16(), high[None], low[None]])

    def centre(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens as the encoder takes them: less the decoder bias, in its precision."""
        centred = tokens - self.b_dec
        if self.W_enc.dtype == torch.float32:
            return centred
        ones = centred.new_ones((*centred.shape[:-1], 2))
        return torch.cat([centred, ones], dim=-1).to(self.W_enc.dtype)

    def pre_activations(
        self,
        centred: torch.Tensor,
        latents: slice | torch.Tensor,
        buffer: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Pre-activations of some latents.

        Parameters
        ----------
        centred : Tensor, (n, t, d)
            As `centre` gives them.
        latents : slice or Tensor of int64, (k,)
            Which latents.
        buffer : Tensor, (at least n * t * k,), optional
            Where to put the result.

        Returns
        -------
        Tensor, (n, t, k)
        """
        cells, length, _ = centred.shape
        rows, weights = centred.flatten(0, 1), self.W_enc[:, latents]
        shape = (len(rows), weights.shape[1])
        out = None if buffer is None else buffer[: shape[0] * shape[1]].view(shape)
        if weights.dtype == torch.float32:
            pre = torch.addmm(self.b_enc[latents], rows, weights, out=out)
        else:
            pre = torch.mm(rows, weights, out=out)
        return pre.view(cells, length, -1)

    def activate(
        self,
        pre: torch.Tensor,
        latents: slice | torch.Tensor,
        gates: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Apply this kind's rule to pre-activations, in place.

        Parameters
        ----------
        pre : Tensor, (n, t, k)
            As `pre_activations` gives them.
        latents : slice or Tensor of int64, (k,)
            Which latents these are.
        gates : Tensor, (n, t), optional
            For topk, as `gates` gives them.

        Returns
        -------
        Tensor, (n, t, k)
            The memory of `pre`.
        """
        if gates is not None:
            return pre.masked_fill_(pre <= gates[..., None], 0)
        if self.info.kind in ("batchtopk", "jumprelu"):
            floor = self.threshold if self.threshold.ndim == 0 else self.threshold[latents]
            return pre.masked_fill_(pre <= floor.clamp(min=0), 0)
        return pre.clamp_(min=0)

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """All latents, dense: (n, t, d_in) to (n, t, d_sae), float32."""
        everything = slice(0, self.info.d_sae)
        pre = self.pre_activations(self.centre(tokens), everything)
        return self.activate(pre, everything, self.gates(tokens)).float()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Reconstructed tokens: (n, t, d_sae) to (n, t, d_in)."""
        return latents @ self.W_dec + self.b_dec

    def decoder_cosine(self, concept: int) -> torch.Tensor:
        """Cosine of one decoder row with each, float32, (d_sae,); 0 with a row of zeros."""
        rows = self.W_dec.float()
        norms = rows.norm(dim=1) * rows[concept].norm()
        return (rows @ rows[concept] / norms.clamp(min=1e-12)).clamp_(-1, 1)

    def columns(
        self,
        tokens: torch.Tensor,
        concepts: Sequence[int],
        gates: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Latents of a few concepts alone: one column product.

        Parameters
        ----------
        tokens : Tensor of float32, (n, t, d_in)
            Residual stream.
        concepts : sequence of int, k of them
            Concept ids.
        gates : Tensor, (n, t), optional
            For topk: those of the same tokens; found anew where not given.

        Returns
        -------
        Tensor of float32, (n, t, k)
        """
        chosen = torch.tensor(concepts, dtype=torch.int64, device=self.W_enc.device)
        if gates is None:
            gates = self.gates(tokens)
        pre = self.pre_activations(self.centre(tokens), chosen)
        return self.activate(pre, chosen, gates).float()

    def gates(self, tokens: torch.Tensor) -> torch.Tensor | None:
        """For topk: what a pre-activation must exceed to be among its token's k largest.

        The gate lies midway between the last that is kept and the first that is dropped,
        so that tokens rounded to float16 still choose the same latents.

        Parameters
        ----------
        tokens : Tensor of float32, (n, t, d_in)
            Residual stream.

        Returns
        -------
        Tensor of float32, (n, t), or None
            None for the kinds whose latents do not compete.
        """
        if self.info.kind != "topk" or self.info.k is None:
            return None
        count = self.info.k + 1
        centred = self.centre(tokens)
        top = centred.new_empty((*centred.shape[:-1], 0))
        for latents in slices(self.info.d_sae):
            top = torch.cat([top, self.pre_activations(centred, latents)], dim=-1)
            top = top.topk(min(count, top.shape[-1]), dim=-1).values
        if top.shape[-1] < count:
            return torch.zeros_like(top[..., 0], dtype=torch.float32)
        return top[..., -2:].float().mean(dim=-1).clamp_(min=0)
