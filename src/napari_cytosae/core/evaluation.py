"""How good an SAE is: what it explains, how sparsely, and what its latents stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.sparse import csc_array
from torch import nn
from torch.nn import functional as F

from napari_cytosae.core.backbone import build_backbone, resolve_layer

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from scipy.sparse import csr_array
    from torch import Tensor

    from napari_cytosae.core.checkpoints import BackboneFile
    from napari_cytosae.core.sae import Sae
    from napari_cytosae.core.types import BoolArray, Float32Array, Int32Array

# Dense latents that are held at a time.
_CHUNK_BYTES = 2**28


@dataclass(frozen=True, slots=True, eq=False)
class SaeMetrics:
    """Figures of an SAE on some tokens.

    Attributes
    ----------
    explained_variance : float
        ``1 - sum |x - x_hat|^2 / sum |x - mean(x)|^2`` over tokens and dimensions.
    l0 : float
        Active latents a token.
    dead_share : float
        Latents that fire on none of the tokens.
    density : ndarray of float32, (d_sae,)
        Share of the tokens each latent fires on.
    loss_recovered : float or None
        As `loss_recovered`; None without the backbone's later blocks.
    """

    explained_variance: float
    l0: float
    dead_share: float
    density: Float32Array
    loss_recovered: float | None = None


@torch.no_grad()
def evaluate_sae(
    sae: Sae, tokens: Tensor, after: Callable[[Tensor], Tensor] | None = None
) -> SaeMetrics:
    """Measure an SAE the way it is used (thresholds in force, no batch competition).

    Parameters
    ----------
    sae : Sae
        Of any kind.
    tokens : Tensor of float32, (images, t, d)
        On the SAE's device.
    after : callable, optional
        The backbone's later blocks, as `blocks_after` gives them.
    """
    images, length, _ = tokens.shape
    mean = tokens.mean((0, 1))
    d_sae = sae.info.d_sae
    fired = torch.zeros(d_sae, device=tokens.device)
    error = torch.zeros((), dtype=torch.float64, device=tokens.device)
    variance = error.clone()
    parts = min(images, -(-4 * images * length * d_sae // _CHUNK_BYTES))
    for chunk in tokens.tensor_split(parts):
        latents = sae.encode(chunk)
        fired += (latents > 0).sum((0, 1))
        error += (sae.decode(latents) - chunk).square().sum(dtype=torch.float64)
        variance += (chunk - mean).square().sum(dtype=torch.float64)
    density = fired / (images * length)
    return SaeMetrics(
        explained_variance=float(1 - error / variance),
        l0=float(density.sum()),
        dead_share=float((fired == 0).float().mean()),
        density=density.cpu().numpy(),
        loss_recovered=None if after is None else loss_recovered(sae, tokens, after),
    )


@torch.no_grad()
def loss_recovered(sae: Sae, tokens: Tensor, after: Callable[[Tensor], Tensor]) -> float:
    """Share of the backbone's output that survives reconstruction at the hooked layer.

    ``1 - sum |g(x_hat) - g(x)|^2 / sum |g(mean) - g(x)|^2``: 1 where the reconstruction
    does as well as the tokens, 0 where no better than their mean; g is the rest of the
    backbone and a layer norm.

    Parameters
    ----------
    sae : Sae
        Of any kind.
    tokens : Tensor of float32, (images, t, d)
        On the SAE's device.
    after : callable
        As `blocks_after` gives it.
    """
    mean = tokens.mean((0, 1)).expand_as(tokens[:1])
    replaced = removed = 0.0
    ablated = _normed(after(mean))
    for image in tokens.tensor_split(len(tokens)):
        output = _normed(after(image))
        guess = _normed(after(sae.decode(sae.encode(image))))
        replaced += float((guess - output).square().sum())
        removed += float((ablated - output).square().sum())
    return 1 - replaced / removed if removed else 1.0


def blocks_after(file: BackboneFile, layer: int) -> nn.Module:
    """The blocks of a backbone after the hooked one, (n, t, d) to (n, t, d).

    Weights are shared with `file`; after the last block there is nothing (an identity).

    Raises
    ------
    ModelMismatchError
        The backbone has no such block.
    """
    first = resolve_layer(file.info, layer) + 1
    return nn.Sequential(*list(build_backbone(file, -1).vit.blocks)[first:])


def latent_aurocs(
    activations: npt.NDArray[np.floating] | csc_array | csr_array, positive: BoolArray
) -> Float32Array:
    """AUROC of every latent for one yes-no question about patches, ties counted half.

    Only active patches are sorted; the others share one rank below them.

    Parameters
    ----------
    activations : ndarray or sparse array, (patches, latents)
        Not negative.
    positive : ndarray of bool, (patches,)
        Patches of the class, e.g. those inside a nucleus.

    Returns
    -------
    ndarray of float32, (latents,)
        NaN where all patches are of one class.
    """
    active = csc_array(activations)
    active.eliminate_zeros()
    patches, latents = active.shape
    n_positive = int(np.count_nonzero(positive))
    n_negative = patches - n_positive
    if not n_positive or not n_negative:
        return np.full(latents, np.nan, np.float32)
    counts = np.diff(active.indptr)
    latent = np.repeat(np.arange(latents), counts)
    order = np.lexsort((active.data, latent))
    hit = np.asarray(positive, bool)[active.indices[order]]
    silent = patches - counts
    rank = silent[latent] + _ranks_in_runs(latent, active.data[order], active.indptr)
    hits = np.bincount(latent, hit, latents)
    rank_sum = np.bincount(latent, hit * rank, latents)
    rank_sum += (n_positive - hits) * (silent + 1) / 2
    area = (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)
    return area.astype(np.float32)


def _ranks_in_runs(
    run: npt.NDArray[np.integer], values: npt.NDArray[np.floating], start: Int32Array
) -> npt.NDArray[np.float64]:
    """Ranks from 1 of values that ascend within each run; equal ones share their mean."""
    if not len(values):
        return np.empty(0)
    changes = (np.diff(run) != 0) | (np.diff(values) != 0)
    tie = np.concatenate([[0], np.cumsum(changes)])
    rank = np.arange(1, len(values) + 1) - start[run]
    mean = np.bincount(tie, rank) / np.bincount(tie)
    return np.asarray(mean[tie], np.float64)


def _normed(tokens: Tensor) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:])
