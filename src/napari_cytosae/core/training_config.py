"""What an SAE is trained with, and what is reported of it while it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_cytosae.core.types import SaeKind

TrainingPrecision = Literal["auto", "float32", "bfloat16"]


_COUNTS = (
    "expansion",
    "images",
    "batch_images",
    "buffer_images",
    "k",
    "dead_after_steps",
    "chunk_mb",
    "checkpoint_steps",
    "metric_steps",
)


class TrainingError(CytoError):
    """A training that cannot start or go on; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """The recipe of one SAE.

    The defaults are for the sparse kinds; `reference` gives the published recipe.

    Attributes
    ----------
    kind : SaeKind
        ``relu`` (L1 and ghost gradients, as published), ``topk`` (Gao et al. 2024),
        ``batchtopk`` (Bussmann et al. 2024), ``jumprelu`` (Rajamanoharan et al. 2024).
    expansion : int
        Latents for each dimension of a token.
    images : int
        Images seen in all, repeats counted; a step takes `batch_images` of them.
    batch_images : int
        Images whose tokens make one step.
    buffer_images : int
        Images whose tokens are shuffled together; what is in memory at a time.
    holdout_images : int
        Images drawn from the source that are never trained on and on which the figures of
        the finished SAE are measured; 0 measures on training images.
    learning_rate : float
        Adam's, with its default betas.
    warmup_steps : int
        Steps over which the learning rate rises linearly.
    decay : float
        Share of the steps, at the end, over which it falls linearly to 0.
    clip_norm : float or None
        Largest norm of the whole gradient.
    k : int
        Active latents a token: exactly (topk), on average (batchtopk), aimed at (jumprelu).
    l1 : float
        Weight of the L1 norm (relu).
    sparsity : float
        Weight of ``(L0 / k - 1)**2`` (jumprelu), in units of the variance left unexplained.
    bandwidth : float
        Width of the rectangle kernel of jumprelu's gradient, in standard deviations of a
        token's entries.
    dead_after_steps : int
        Steps without firing after which a latent is dead.
    auxiliary : float
        Weight of the auxiliary loss that revives dead latents (sparse kinds).
    auxiliary_k : int or None
        Dead latents that loss uses for a token; None is half the token's dimension.
    nesting : tuple of float
        Matryoshka prefixes (Bussmann et al. 2025) as increasing shares of the latents,
        below 1; each also has to reconstruct on its own. Empty for none.
    chunk_mb : int
        Memory for one dense array of a step (tokens x latents); a larger step is done in
        parts whose gradients add up.
    precision : {"auto", "float32", "bfloat16"}
        Of the matrix products; weights and sums stay in float32. ``auto`` is bfloat16 on a
        GPU, float32 elsewhere.
    checkpoint_steps : int
        Steps between checkpoints.
    metric_steps : int
        Steps between measurements of the loss recovered.
    seed : int
    """

    kind: SaeKind = "batchtopk"
    expansion: int = 16
    images: int = 100_000
    batch_images: int = 16
    buffer_images: int = 256
    holdout_images: int = 0
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    decay: float = 0.2
    clip_norm: float | None = 1.0
    k: int = 32
    l1: float = 8e-5
    sparsity: float = 1.0
    bandwidth: float = 0.1
    dead_after_steps: int = 64
    auxiliary: float = 1 / 32
    auxiliary_k: int | None = None
    nesting: tuple[float, ...] = ()
    chunk_mb: int = 1024
    precision: TrainingPrecision = "auto"
    checkpoint_steps: int = 500
    metric_steps: int = 100
    seed: int = 0

    @classmethod
    def reference(cls, **changes: Any) -> TrainingConfig:
        """The recipe of the published CytoSAE, with `changes`."""
        recipe: dict[str, Any] = {
            "kind": "relu",
            "expansion": 64,
            "images": 1_000_000,
            "batch_images": 64,
            "buffer_images": 64,
            "learning_rate": 4e-4,
            "warmup_steps": 500,
            "decay": 0.0,
            "clip_norm": None,
        }
        return cls(**recipe | changes)

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return max(1, self.images // self.batch_images)

    def __post_init__(self) -> None:
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; give 1 or more.")
        if self.learning_rate <= 0:
            raise TrainingError(
                f"The learning rate is {self.learning_rate}; give a positive number."
            )
        if not 0 <= self.decay <= 1:
            raise TrainingError(f"decay is {self.decay}; give a share from 0 to 1.")
        if any(a >= b for a, b in pairwise((0.0, *self.nesting, 1.0))):
            raise TrainingError(
                f"Nesting {self.nesting} must be increasing shares between 0 and 1."
            )
        if self.nesting and self.kind == "relu":
            raise TrainingError(
                "The published recipe (relu) has no nesting; choose topk, batchtopk or "
                "jumprelu for it."
            )

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        rise = min(1.0, (step + 1) / max(1, self.warmup_steps))
        falling = self.decay * self.steps
        fall = min(1.0, (self.steps - step) / falling) if falling else 1.0
        return self.learning_rate * rise * fall

    def prefix_ends(self, d_sae: int) -> tuple[int, ...]:
        """Ends of the latent ranges that the nesting makes; the last is `d_sae`."""
        return (*(max(1, round(share * d_sae)) for share in self.nesting), d_sae)


@dataclass(frozen=True, slots=True)
class TrainingMetrics:
    """Figures of one step, measured on the tokens it was trained with.

    Attributes
    ----------
    step, steps : int
        Steps done and in all.
    loss : float
        Sum of the three that follow.
    reconstruction, sparsity, auxiliary : float
        Error of the reconstruction; L1 or L0 term; ghost gradients or revival of dead
        latents, and the guide's term.
    explained_variance : float
        ``1 - sum |x - x_hat|^2 / sum |x - mean(x)|^2``.
    l0 : float
        Active latents a token.
    dead_share : float
        Latents that have not fired for longer than the recipe allows.
    loss_recovered : float or None
        What survives at the backbone's output when the reconstruction takes the tokens'
        place, see `evaluation.loss_recovered`; None where its later blocks are not at hand.
    learning_rate : float
    seconds_left : float
    skipped : dict of str to str
        Images that could not be read, and why.
    """

    step: int
    steps: int
    loss: float
    reconstruction: float
    sparsity: float
    auxiliary: float
    explained_variance: float
    l0: float
    dead_share: float
    loss_recovered: float | None
    learning_rate: float
    seconds_left: float
    skipped: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        text = (
            f"explained variance {self.explained_variance:.3f}, L0 {self.l0:.1f}, "
            f"dead {self.dead_share:.1%}"
        )
        if self.loss_recovered is not None:
            text += f", loss recovered {self.loss_recovered:.3f}"
        return text
