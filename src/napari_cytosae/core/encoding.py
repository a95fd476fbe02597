"""Tokens to sparse concept activations, a batch and a chunk of latents at a time.

The dense activations of a cell are 50 MB at CytoSAE's size; here only those of one chunk
exist, and what is kept of them is five numbers a cell and latent.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cytosae.core.encoded_cells import STATISTICS, from_dense
from napari_cytosae.core.sae import slices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_cytosae.core.sae import Sae
    from napari_cytosae.core.types import (
        ConceptActivations,
        Float16Array,
        Float32Array,
        Float64Array,
        Int64Array,
    )

WIDENED = {"cpu": 2**21, "cuda": 2**24, "mps": 2**24}
"""Bytes of kept tokens that are widened to float32 at a time, at least those of one cell.

On a CPU they stay in the caches of its cores, which is up to 4 times as fast as 16 MB; of
half as much, each thread gets so little that it mostly waits for the others.
"""

DENSE_AT_ONCE = 4
"""Cells whose latents are all made dense at a time: 13 MB at CytoSAE's size."""

SAMPLED = 17
"""Every so many patch tokens are reconstructed: 16 of 256, on a diagonal lattice."""

SUMMED = 2**23
"""Activations that `weighted_sum` holds at a time: a step lasts a fraction of a second."""

FEW = 8
"""Concepts that are looked up cell by cell; of more, all cells are looked at."""


def activations(
    sae: Sae, tokens: torch.Tensor, threshold: float, gates: torch.Tensor | None = None
) -> ConceptActivations:
    """Summarise every latent over the tokens of each cell.

    Parameters
    ----------
    sae : Sae
        On the device of the tokens.
    tokens : Tensor of float32, (n, 1 + p, d_in)
        CLS first, then p patches.
    threshold : float
        For `n_patches` only.
    gates : Tensor of float32, (n, 1 + p), optional
        For topk: ``sae.gates(tokens)``.

    Returns
    -------
    ConceptActivations
        n rows.
    """
    shape = (len(STATISTICS), len(tokens), sae.info.d_sae)
    summary = torch.empty(shape, device=tokens.device)
    for latents, f in sae.chunks(tokens, gates):
        _summarise(f, threshold, summary[:, :, latents])
    return from_dense(summary.cpu().numpy(), sae.info, threshold)


def columns(
    sae: Sae,
    tokens: Float16Array,
    concepts: Sequence[int],
    gates: Float32Array | None = None,
    lit: Int64Array | None = None,
) -> Float32Array:
    """Activations of a few concepts from kept tokens, some cells at a time.

    Parameters
    ----------
    sae : Sae
        On any device.
    tokens : ndarray of float16, (n, t, d_in)
        As kept in `Encoded`.
    concepts : sequence of int, k of them
        Concept ids.
    gates : ndarray of float32, (n, t), optional
        For topk, as kept in `Encoded`.
    lit : ndarray of int64, (m,), optional
        The only cells that are looked at, see `lit_cells`; the others stay 0.

    Returns
    -------
    ndarray of float32, (k, n, t)
    """
    device = sae.b_dec.device
    result = np.zeros((len(concepts), *tokens.shape[:2]), np.float32)
    rows = np.arange(len(tokens)) if lit is None else lit
    read = sae.reader(concepts)
    # Filled again and again: it stays in the cache, and fresh pages cost more than sums.
    each = max(4 * math.prod(tokens.shape[1:]), 1)
    at_once = max(min(WIDENED[device.type] // each, len(rows)), 1)
    buffer = torch.empty((at_once, *tokens.shape[1:]), device=device)
    for some in slices(len(rows), at_once):
        cells = _together(rows[some])
        wide = buffer[: some.stop - some.start]
        _copy(tokens, cells, wide)
        those = None if gates is None else torch.from_numpy(gates[cells]).to(device)
        result[:, cells] = read(wide, those).permute(2, 0, 1).cpu().numpy()
    return result


def summed_at_once(grid: int, concepts: int) -> int:
    """Cells that `weighted_sum` takes at a time."""
    return max(1, min(SUMMED // (grid**2 * max(concepts, 1)), 32))


def weighted_sum(
    read: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor],
    tokens: Float16Array,
    gates: Float32Array | None,
    weights: Float32Array,
    device: torch.device,
) -> Float64Array:
    """Activations of a few concepts in a few cells, weighted and summed over the patches.

    Parameters
    ----------
    read : callable
        Of `Sae.reader`.
    tokens : ndarray of float16, (n, t, d_in)
        As kept in `Encoded`.
    gates : ndarray of float32, (n, t), or None
        For topk, as kept in `Encoded`.
    weights : ndarray of float32, (n, p, grid, grid)
        Of each token, p of them.
    device : torch.device
        That the SAE is on.

    Returns
    -------
    ndarray of float64, (k, p)
    """
    wide = torch.from_numpy(np.ascontiguousarray(tokens))
    by_place = np.ascontiguousarray(np.moveaxis(weights, 1, 0)).reshape(
        weights.shape[1], -1
    )
    heavy = torch.from_numpy(by_place)
    those = None if gates is None else torch.from_numpy(np.ascontiguousarray(gates))
    found = read(wide.to(device).float(), None if those is None else those.to(device))
    sums = heavy.to(device) @ found.reshape(heavy.shape[1], -1)
    result: Float64Array = sums.T.double().cpu().numpy()
    return result


def _together(cells: Int64Array) -> slice | Int64Array:
    """The same cells as a slice where they lie together, ascending."""
    first, last = int(cells[0]), int(cells[-1])
    return slice(first, last + 1) if last - first + 1 == len(cells) else cells


def _copy(tokens: Float16Array, cells: slice | Int64Array, into: torch.Tensor) -> None:
    """Copy rows, at once where they lie together.

    Torch's threads wait for each other at the end of each copy, which on a busy machine
    takes longer than the copy.
    """
    if isinstance(cells, slice):
        into.copy_(torch.from_numpy(tokens[cells]))
        return
    for row, cell in zip(into, cells.tolist(), strict=True):
        row.copy_(torch.from_numpy(tokens[cell]))


def unexplained(sae: Sae, tokens: Float16Array) -> Float32Array:
    """Share of the variance of each cell's tokens that the SAE leaves, (n,).

    Parameters
    ----------
    sae : Sae
        In inference mode.
    tokens : ndarray of float16, (n, t, d)
        A few of each cell's: all latents of them are made dense.
    """
    device = sae.b_dec.device
    result = np.empty(len(tokens), np.float32)
    for cells in slices(len(tokens), DENSE_AT_ONCE):
        wide = torch.from_numpy(np.ascontiguousarray(tokens[cells])).to(device).float()
        rest = (wide - sae.decode(sae.encode(wide))).square().sum(dim=(1, 2))
        whole = (wide - sae.b_dec).square().sum(dim=(1, 2)).clamp(min=1e-12)
        result[cells] = (rest / whole).cpu().numpy()
    return result


def lit_cells(
    activations: ConceptActivations, concepts: Sequence[int]
) -> Int64Array | None:
    """Rows of the cells in which any of a few concepts fires; None for many concepts.

    Most concepts fire in few cells, and the tokens of the others need not be read.
    """
    if len(concepts) > FEW:
        return None
    matrix = activations.max
    # Comparing is quicker than scipy's choice of columns, which copies.
    stored = [np.flatnonzero(matrix.indices == concept) for concept in concepts]
    places = np.concatenate([np.empty(0, np.int64), *stored])
    return np.unique(np.searchsorted(matrix.indptr, places, side="right") - 1)


def _summarise(f: torch.Tensor, threshold: float, out: torch.Tensor) -> None:
    """Reduce latents (n, 1 + p, k) to `STATISTICS`, (5, n, k); overwrites them."""
    n_patches, highest, mean, mean_with_cls, cls = out
    count = f.shape[1] - 1
    patches = f[:, 1:]
    cls.copy_(f[:, 0])
    highest.copy_(patches.amax(dim=1))
    total = patches.sum(dim=1, dtype=torch.float32)
    torch.div(total, count, out=mean)
    torch.div(total + cls, count + 1, out=mean_with_cls)
    # Ones and zeros in place, as numbers: summing booleans is six times slower.
    torch.gt(patches, threshold, out=patches)
    n_patches.copy_(patches.sum(dim=1, dtype=torch.float32))
