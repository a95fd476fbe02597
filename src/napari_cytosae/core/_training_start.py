"""What the training of an SAE starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cytosae.core._sparse_code import keep_per_batch, keep_per_token

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cytosae.core.training_config import TrainingConfig

# Images the decoder bias starts from, and iterations of its geometric median (published).
_START_IMAGES = 64
_WEISZFELD_STEPS = 100


def fresh_tensors(head: Tensor, config: TrainingConfig) -> dict[str, Tensor]:
    """What a training starts from.

    Parameters
    ----------
    head : Tensor of float32, (images, t, d)
        The first images' tokens.
    config : TrainingConfig
        Kind, expansion, k and seed.
    """
    head = head[:_START_IMAGES]
    width = head.shape[-1]
    d_sae = config.expansion * width
    random = torch.Generator().manual_seed(config.seed)
    if config.kind == "relu":
        scale = head.new_ones(())
        W_enc, W_dec = torch.empty(width, d_sae), torch.empty(d_sae, width)
        for matrix in (W_enc, W_dec):
            torch.nn.init.kaiming_uniform_(matrix, generator=random)
    else:
        # Learning rate, bandwidth and gradient norm then mean the same for any backbone.
        flat = head.flatten(0, 1)
        scale = flat.var(0, correction=0).mean().clamp(min=1e-12).rsqrt()
        W_dec = torch.randn(d_sae, width, generator=random)
        W_dec /= W_dec.norm(dim=1, keepdim=True)
        W_enc = W_dec.T.contiguous()
    found = {
        "W_enc": W_enc.to(head.device),
        "b_enc": head.new_zeros(d_sae),
        "W_dec": (W_dec / W_dec.norm(dim=1, keepdim=True)).to(head.device),
        "b_dec": geometric_median(head * scale).mean(0),
        "scale": scale,
        "threshold": head.new_zeros(()),
        "idle_steps": torch.zeros(d_sae, dtype=torch.int32, device=head.device),
    }
    if config.kind != "relu":
        level = _match_size(found, head, config)
        if config.kind == "jumprelu":
            found["log_threshold"] = level.log().expand(d_sae).clone()
    return found


def geometric_median(points: Tensor) -> Tensor:
    """Weiszfeld's geometric median over the first axis, each entry one point.

    The published start of the decoder bias takes whole images' tokens, (images, t, d), as
    points and averages the result over the tokens.
    """
    flat = points.flatten(1)
    median = flat.mean(0)
    for _ in range(_WEISZFELD_STEPS):
        weights = 1 / torch.linalg.vector_norm(flat - median, dim=1).clamp(min=1e-6)
        median = (weights / weights.sum()) @ flat
    return median.view(points.shape[1:])


def _match_size(found: dict[str, Tensor], head: Tensor, config: TrainingConfig) -> Tensor:
    """Scale the encoder so that the first reconstructions have the size that fits best.

    Latents that resemble each other add up to too much, at worst where they compete over
    the batch. Returns the smallest activation kept.
    """
    flat = head.flatten(0, 1) * found["scale"]
    centred = flat[:: max(1, len(flat) // 1024)] - found["b_dec"]
    pre = centred @ found["W_enc"]
    keep = keep_per_token if config.kind == "topk" else keep_per_batch
    code = keep(pre, min(config.k, pre.shape[1]))
    latents = torch.zeros_like(pre)
    latents[code.tokens, code.latents] = code.values
    output = latents @ found["W_dec"]
    gain = (output * centred).sum() / output.square().sum().clamp(min=1e-12)
    gain = gain.clamp(min=1e-3)
    found["W_enc"] *= gain
    return (code.values.min() * gain).clamp(min=1e-3)
