"""The training losses of the four kinds of SAE, as functions of weights and tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from napari_cytosae.core._sparse_code import (
    keep_per_batch,
    keep_per_token,
    largest_per_row,
    partial_reconstructions,
)

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cytosae.core.training_config import TrainingConfig

_EPS = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """What is learned.

    Attributes
    ----------
    W_enc : Tensor of float32, (d, d_sae)
    b_enc : Tensor of float32, (d_sae,)
    W_dec : Tensor of float32, (d_sae, d)
    b_dec : Tensor of float32, (d,)
    log_threshold : Tensor of float32, (d_sae,), or None
        jumprelu alone.
    """

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    log_threshold: Tensor | None = None

    def named(self) -> dict[str, Tensor]:
        """The tensors that are there, by name."""
        every = {name: getattr(self, name) for name in self.__slots__}
        return {name: tensor for name, tensor in every.items() if tensor is not None}

    def pre_activations(self, tokens: Tensor) -> Tensor:
        """``(x - b_dec) @ W_enc + b_enc``."""
        return torch.addmm(self.b_enc, tokens - self.b_dec, self.W_enc)


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """Terms of one loss, and what came out on the way.

    Attributes
    ----------
    reconstruction, sparsity, auxiliary : Tensor, ()
        Their sum is what is minimised.
    output : Tensor of float32, (n, d)
        Reconstructed tokens, detached.
    fired : Tensor of bool, (d_sae,)
        Latents active on any of the tokens.
    active : Tensor, ()
        Active latents a token.
    threshold : Tensor, () or None
        Smallest kept activation (batchtopk).
    """

    reconstruction: Tensor
    sparsity: Tensor
    auxiliary: Tensor
    output: Tensor
    fired: Tensor
    active: Tensor
    threshold: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """The sum of the three terms."""
        return self.reconstruction + self.sparsity + self.auxiliary


def loss_of(
    weights: Weights,
    tokens: Tensor,
    dead: Tensor,
    config: TrainingConfig,
    warmth: float = 1.0,
) -> Loss:
    """Loss of `config.kind` on some tokens.

    Parameters
    ----------
    weights : Weights
        Of an SAE of this kind.
    tokens : Tensor of float32, (n, d)
        For the sparse kinds scaled to unit variance an entry.
    dead : Tensor of bool, (d_sae,)
        Latents to revive.
    config : TrainingConfig
        Kind and weights of the terms.
    warmth : float
        Share of the sparsity weight already in force (jumprelu).
    """
    if config.kind == "relu":
        return relu_loss(weights, tokens, dead, config.l1)
    if config.kind == "jumprelu":
        return jumprelu_loss(weights, tokens, dead, config, warmth)
    return topk_loss(weights, tokens, dead, config)


def relu_loss(weights: Weights, tokens: Tensor, dead: Tensor, l1: float) -> Loss:
    """The published loss: scaled squared error, L1 and ghost gradients.

    ``mean((x_hat - x)^2 / |x|) + l1 * mean_tokens(sum |f|) + ghost``. The ghost term lets
    the dead latents, through ``exp(pre)``, predict the residual: their output is scaled
    for each token to half the residual's norm and the error entry by entry to the size of
    the reconstruction error; both scales and the residual are constants to the gradient.
    """
    pre = weights.pre_activations(tokens)
    latents = pre.relu()
    output = latents @ weights.W_dec + weights.b_dec
    error = (output - tokens).square() / tokens.norm(dim=-1, keepdim=True)
    ghost = error.new_zeros(())
    if bool(dead.any()):
        residual = (tokens - output).detach()
        norm = residual.norm(dim=-1, keepdim=True)
        revived = pre[:, dead].exp() @ weights.W_dec[dead]
        half = norm / (_EPS + 2 * revived.detach().norm(dim=-1, keepdim=True))
        ghost_error = (revived * half - residual).square() / norm
        ghost = (error / (ghost_error + _EPS)).detach().mul(ghost_error).mean()
    with torch.no_grad():
        active = latents > 0
        fired, count = active.any(0), active.sum() / len(tokens)
    return Loss(
        reconstruction=error.mean(),
        sparsity=l1 * latents.sum(-1).mean(),
        auxiliary=ghost,
        output=output.detach(),
        fired=fired,
        active=count,
    )


def topk_loss(
    weights: Weights, tokens: Tensor, dead: Tensor, config: TrainingConfig
) -> Loss:
    """Squared error of the k largest latents a token, or n * k largest of n tokens.

    Error is in units of the tokens' variance, averaged over the nested prefixes; dead
    latents are revived by `revival_loss`.
    """
    keep = keep_per_token if config.kind == "topk" else keep_per_batch
    d_sae = len(weights.W_dec)
    k = min(config.k, d_sae)
    parts, code = partial_reconstructions(
        (weights.W_enc, weights.b_enc, weights.W_dec, weights.b_dec),
        tokens,
        partial(keep, k=k),
        config.prefix_ends(d_sae),
        _product_dtype(tokens),
    )
    error, output = _nested_error(parts, weights.b_dec, tokens)
    smallest = code.values.min() if len(code.values) else tokens.new_zeros(())
    fired = torch.bincount(code.latents, minlength=d_sae) > 0
    return Loss(
        reconstruction=error,
        sparsity=error.new_zeros(()),
        auxiliary=revival_loss(weights, tokens, output, dead, config),
        output=output,
        fired=fired,
        active=tokens.new_tensor(len(code.values) / len(tokens)),
        threshold=smallest if config.kind == "batchtopk" else None,
    )


def jumprelu_loss(
    weights: Weights, tokens: Tensor, dead: Tensor, config: TrainingConfig, warmth: float
) -> Loss:
    """Squared error of latents above learned thresholds, with L0 drawn towards `config.k`.

    Thresholds get their gradient through a rectangle kernel of width `config.bandwidth`
    (straight-through estimator of Rajamanoharan et al. 2024, with their appendix's
    squared deviation from a target L0).
    """
    assert weights.log_threshold is not None
    pre = weights.pre_activations(tokens)
    latents, active = _JumpReLU.apply(pre, weights.log_threshold, config.bandwidth)
    ends = config.prefix_ends(len(weights.W_dec))
    parts = torch.stack(
        [latents[:, a:b] @ weights.W_dec[a:b] for a, b in pairwise((0, *ends))]
    )
    error, output = _nested_error(parts, weights.b_dec, tokens)
    return Loss(
        reconstruction=error,
        sparsity=warmth * config.sparsity * (active / config.k - 1).square(),
        auxiliary=revival_loss(weights, tokens, output, dead, config),
        output=output,
        fired=(latents.detach() > 0).any(0),
        active=active.detach(),
    )


def revival_loss(
    weights: Weights, tokens: Tensor, output: Tensor, dead: Tensor, config: TrainingConfig
) -> Tensor:
    """AuxK (Gao et al. 2024): the dead latents reconstruct what the live ones missed.

    ``auxiliary * sum |e - e_hat|^2 / sum |e|^2`` over the tokens, with e the residual (a
    constant) and e_hat the decoded `auxiliary_k` largest dead latents, no decoder bias.
    """
    if not config.auxiliary or not bool(dead.any()):
        return tokens.new_zeros(())
    latents = dead.nonzero().squeeze(1)
    centred = tokens - weights.b_dec.detach()
    pre = torch.addmm(weights.b_enc[latents], centred, weights.W_enc[:, latents])
    k = min(config.auxiliary_k or tokens.shape[1] // 2, len(latents))
    columns = largest_per_row(pre.detach(), k)[1]
    kept = torch.zeros_like(pre).scatter(1, columns, pre.gather(1, columns).relu())
    residual = tokens - output
    missed = (kept @ weights.W_dec[latents] - residual).square().sum()
    return config.auxiliary * missed / residual.square().sum().clamp(min=_EPS)


def _nested_error(parts: Tensor, b_dec: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error an entry, averaged over prefixes; and the full reconstruction."""
    outputs = parts.cumsum(0) + b_dec
    return (outputs - tokens).square().mean(), outputs[-1].detach()


def _product_dtype(tokens: Tensor) -> torch.dtype:
    """What autocast would multiply in; the sparse code does its own products."""
    device = tokens.device.type
    enabled = torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if enabled else tokens.dtype


class _JumpReLU(torch.autograd.Function):
    """``z * (z > theta)`` and the number of active latents a token."""

    @staticmethod
    def forward(
        ctx: Any, pre: Tensor, log_threshold: Tensor, bandwidth: float
    ) -> tuple[Tensor, Tensor]:
        threshold = log_threshold.exp()
        gate = pre > threshold
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return pre * gate, gate.sum().to(log_threshold.dtype) / len(pre)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_latents, grad_active = grads
        pre, threshold = ctx.saved_tensors
        near = (pre - threshold).abs() < ctx.bandwidth / 2
        by_value = -threshold / ctx.bandwidth * (near * grad_latents).sum(0)
        by_count = -(grad_active / len(pre)) / ctx.bandwidth * near.sum(0)
        # The chain rule through exp.
        return grad_latents * (pre > threshold), (by_value + by_count) * threshold, None
