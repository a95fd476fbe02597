"""Sparse autoencoders: tokens in, latents out, in the four kinds in use."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_cytosae.core._products import Product
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_cytosae.core._products import Activation
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
        self._dtype, self._borrowed = torch.float32, False
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

    def use(self, dtype: torch.dtype, *, borrowed: bool = False) -> None:
        """Encode in this precision from now on; float32 until then.

        `borrowed`: with the weights where they lie, as `Product` takes them.
        """
        self._dtype, self._borrowed = dtype, borrowed
        self.__dict__.pop("_products", None)

    @cached_property
    def _products(self) -> list[Product]:
        """The encoder in runs of `CHUNK` latents, on the device it is first used on."""
        activation: Activation = "relu" if self.info.kind == "relu" else "none"
        scratch = self.W_enc.new_empty(CHUNK * self.info.d_in, dtype=self._dtype)
        return [
            Product(
                self.W_enc[:, latents].t(),
                self.b_enc[latents],
                self._dtype,
                activation,
                scratch,
                borrowed=self._borrowed,
            )
            for latents in slices(self.info.d_sae)
        ]

    def chunks(
        self, tokens: torch.Tensor, gates: torch.Tensor | None = None
    ) -> Iterator[tuple[slice, torch.Tensor]]:
        """All latents, `CHUNK` of them at a time.

        Parameters
        ----------
        tokens : Tensor of float32, (n, t, d_in)
            Residual stream.
        gates : Tensor, (n, t), optional
            For topk, as `gates` gives them.

        Yields
        ------
        slice
            Which latents.
        Tensor, (n, t, k)
            In the precision in use; the caller may overwrite it.
        """
        centred = tokens - self.b_dec
        for latents, product in zip(slices(self.info.d_sae), self._products, strict=True):
            yield latents, self._activate(product(centred), latents, gates)

    def _activate(
        self,
        pre: torch.Tensor,
        latents: slice | torch.Tensor,
        gates: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Apply this kind's rule to pre-activations, in place.

        Parameters
        ----------
        pre : Tensor, (n, t, k)
            Of the relu kind already cut off at 0.
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
        return pre

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """All latents, dense: (n, t, d_in) to (n, t, d_sae), float32."""
        parts = [f.float() for _, f in self.chunks(tokens, self.gates(tokens))]
        return torch.cat(parts, dim=-1)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Reconstructed tokens: (n, t, d_sae) to (n, t, d_in)."""
        return latents @ self.W_dec + self.b_dec

    def decoder_cosine(self, concept: int) -> torch.Tensor:
        """Cosine of one decoder row with each, float32, (d_sae,); 0 with a row of zeros."""
        rows = nn.functional.normalize(self.W_dec.float(), dim=1)
        return rows @ rows[concept]

    def columns(
        self,
        tokens: torch.Tensor,
        concepts: Sequence[int],
        gates: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Latents of a few concepts alone: one column product, in float32 where it can be.

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
        return self.reader(concepts)(tokens, gates)

    def reader(
        self, concepts: Sequence[int]
    ) -> Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]:
        """`columns` of the same concepts again and again: the weights are fetched once."""
        chosen = torch.tensor(concepts, dtype=torch.int64, device=self.W_enc.device)
        weights, bias = self.W_enc[:, chosen], self.b_enc[chosen]
        rounded = weights.to(self._dtype).float()
        uncentred = bias - self.b_dec @ weights

        def read(tokens: torch.Tensor, gates: torch.Tensor | None) -> torch.Tensor:
            if gates is None:
                gates = self.gates(tokens)
            if gates is None:
                # So few latents are quick in float32, and read the tokens only once.
                rows = tokens.reshape(-1, tokens.shape[-1])
                pre = torch.addmm(uncentred, rows, weights).view(*tokens.shape[:-1], -1)
            else:
                # Rounded as those that the gates were found among.
                rows = (tokens - self.b_dec).to(self._dtype).float()
                pre = (rows @ rounded + bias).to(self._dtype).float()
            if self.info.kind == "relu":
                pre = pre.relu_()
            return self._activate(pre, chosen, gates)

        return read

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
        centred = tokens - self.b_dec
        top = centred.new_empty((*centred.shape[:-1], 0))
        for product in self._products:
            top = torch.cat([top, product(centred).float()], dim=-1)
            top = top.topk(min(count, top.shape[-1]), dim=-1).values
        if top.shape[-1] < count:
            return torch.zeros_like(top[..., 0])
        return top[..., -2:].mean(dim=-1).clamp_(min=0)
