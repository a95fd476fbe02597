"""Sparse autoencoders: tokens in, latents out, in the four kinds in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_cytosae.core.checkpoints import SaeFile

CHUNK = 1024
"""Latents computed at a time: their pre-activations stay in the cache."""


def chunks(d_sae: int) -> Iterator[slice]:
    """Cut the latents into runs of `CHUNK`."""
    for start in range(0, d_sae, CHUNK):
        yield slice(start, min(start + CHUNK, d_sae))


class Sae(nn.Module):
    """One SAE, frozen.

    ``pre = (x - b_dec) @ W_enc + b_enc`` and ``x_hat = f @ W_dec + b_dec``, with

    ========= =======================================================================
    relu      ``f = max(pre, 0)``
    topk      ``f = max(pre, 0)`` for the k largest `pre` of a token, else 0
    batchtopk ``f = pre`` where ``pre > threshold``, one number for all latents, else 0
    jumprelu  ``f = pre`` where ``pre > threshold``, one number a latent, else 0
    ========= =======================================================================

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

    def centre(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens less the decoder bias, in the precision of the encoder's weights."""
        return (tokens - self.b_dec).to(self.W_enc.dtype)

    def pre_activations(
        self,
        centred: torch.Tensor,
        latents: slice | torch.Tensor,
        buffer: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Pre-activations of some latents.

        Parameters
        ----------
        centred : Tensor, (n, t, d_in)
            As `centre` gives them.
        latents : slice or Tensor of int64, (k,)
            Which latents.
        buffer : Tensor, (at least n * t * k,), optional
            Where to put the result.

        Returns
        -------
        Tensor, (n, t, k)
        """
        weights, bias = self.W_enc[:, latents], self.b_enc[latents]
        cells, length, _ = centred.shape
        rows, width = cells * length, len(bias)
        out = None if buffer is None else buffer[: rows * width].view(rows, width)
        pre = torch.addmm(bias, centred.flatten(0, 1), weights, out=out)
        return pre.view(cells, length, width)

    def activate(
        self,
        pre: torch.Tensor,
        latents: slice | torch.Tensor,
        gates: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Apply this kind's rule to pre-activations, in place where it can be.

        Parameters
        ----------
        pre : Tensor, (..., k)
        latents : slice or Tensor of int64, (k,)
            Which latents these are.
        gates : Tensor, (...,), optional
            For topk, as `gates` gives them.
        """
        if gates is not None:
            return pre.mul_(pre > gates[..., None])
        if self.info.kind in ("batchtopk", "jumprelu"):
            floor = self.threshold if self.threshold.ndim == 0 else self.threshold[latents]
            return pre.mul_(pre > floor.clamp(min=0))
        return pre.clamp_(min=0)

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """All latents of some tokens, dense: (..., d_in) to (..., d_sae)."""
        everything = slice(0, self.info.d_sae)
        pre = self.pre_activations(self.centre(tokens), everything)
        return self.activate(pre, everything, self.gates(tokens))

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Reconstructed tokens: (..., d_sae) to (..., d_in)."""
        return latents @ self.W_dec + self.b_dec

    def columns(
        self,
        tokens: torch.Tensor,
        concepts: Sequence[int] | torch.Tensor,
        gates: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Latents of a few concepts alone: one column product.

        Parameters
        ----------
        tokens : Tensor, (n, t, d_in)
        concepts : sequence of int, k of them
        gates : Tensor, (n, t), optional
            For topk: those of the same tokens; found anew where not given.

        Returns
        -------
        Tensor of float32, (n, t, k)
        """
        chosen = torch.as_tensor(concepts, dtype=torch.int64, device=self.W_enc.device)
        if gates is None:
            gates = self.gates(tokens)
        pre = self.pre_activations(self.centre(tokens), chosen)
        return self.activate(pre, chosen, gates).float()

    def gates(self, tokens: torch.Tensor) -> torch.Tensor | None:
        """For topk: what a token's pre-activation must exceed to be among its k largest."""
        if self.info.kind != "topk" or self.info.k is None:
            return None
        centred = self.centre(tokens)
        # One more than are kept: the gate lies midway between the last kept and the first
        # dropped, so that tokens rounded to float16 still choose the same latents.
        count = min(self.info.k + 1, self.info.d_sae)
        top = centred.new_empty((*centred.shape[:-1], 0))
        for latents in chunks(self.info.d_sae):
            top = torch.cat([top, self.pre_activations(centred, latents)], dim=-1)
            top = top.topk(min(count, top.shape[-1]), dim=-1).values
        if count <= self.info.k:
            return torch.zeros_like(top[..., 0])
        return top[..., -2:].float().mean(dim=-1).clamp_(min=0)
