"""The SAE being trained: its weights, their optimiser, and one step at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_cytosae.core._losses import Loss, Weights, loss_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from napari_cytosae.core.training_config import TrainingConfig

    Encode = Callable[[Tensor], tuple[Tensor, Tensor]]
    Guide = Callable[[Encode, int], Tensor]

# Of the running estimate of batchtopk's threshold: about the last hundred batches.
_THRESHOLD_DECAY = 0.99

# Place of the auxiliary term among a step's figures.
_AUXILIARY = 2


@dataclass(frozen=True, slots=True)
class StepFigures:
    """Plain numbers of one step, see `TrainingMetrics`."""

    reconstruction: float
    sparsity: float
    auxiliary: float
    explained_variance: float
    l0: float
    dead_share: float
    gradient_norm: float

    @property
    def loss(self) -> float:
        """The sum that is minimised."""
        return self.reconstruction + self.sparsity + self.auxiliary

    @property
    def finite(self) -> bool:
        """Whether loss and gradients may be stepped along."""
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)


class Trainer:
    """Weights, Adam's moments, and what is counted beside them.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        A start (`fresh_tensors`) or what `tensors` gave before.
    step : int
        Steps done with them.
    config : TrainingConfig
    device : torch.device
    guide : callable, optional
        As `training.train_sae` takes it.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        step: int,
        config: TrainingConfig,
        device: torch.device,
        guide: Guide | None = None,
    ) -> None:
        self.step = step
        self._guide = guide
        self._config = config
        here = {name: tensor.to(device) for name, tensor in tensors.items()}
        names = [name for name in Weights.__slots__ if name in here]
        self.weights = Weights(**{name: here[name].requires_grad_() for name in names})
        self._scale = here["scale"]
        self._threshold = here["threshold"]
        self._idle_steps = here["idle_steps"]
        parameters = self.weights.named()
        self._adam = torch.optim.Adam(
            list(parameters.values()), lr=config.learning_rate, fused=device.type != "mps"
        )
        for name, parameter in parameters.items():
            if f"first_moment.{name}" in here:
                self._adam.state[parameter] = {
                    "step": torch.tensor(float(step), device=device),
                    "exp_avg": here[f"first_moment.{name}"],
                    "exp_avg_sq": here[f"second_moment.{name}"],
                }

    @property
    def d_sae(self) -> int:
        """Latents."""
        return len(self._idle_steps)

    def tensors(self) -> dict[str, Tensor]:
        """Everything a `Trainer` goes on from."""
        every = {
            "scale": self._scale,
            "threshold": self._threshold,
            "idle_steps": self._idle_steps,
        }
        for name, parameter in self.weights.named().items():
            moments = self._adam.state[parameter]
            every[name] = parameter.detach()
            every[f"first_moment.{name}"] = moments["exp_avg"]
            every[f"second_moment.{name}"] = moments["exp_avg_sq"]
        return every

    def finite(self) -> bool:
        """Whether all weights are finite numbers."""
        return all(bool(w.detach().sum().isfinite()) for w in self.weights.named().values())

    def sae_tensors(self) -> dict[str, Tensor]:
        """The SAE for tokens as they come: the scale of training folded into its biases."""
        found = {name: tensor.detach() for name, tensor in self.weights.named().items()}
        log_threshold = found.pop("log_threshold", None)
        for name in ("b_enc", "b_dec"):
            found[name] = found[name] / self._scale
        if log_threshold is not None:
            found["threshold"] = log_threshold.exp() / self._scale
        elif self._config.kind == "batchtopk":
            found["threshold"] = self._threshold / self._scale
        return found

    def gradients(self, tokens: Tensor) -> StepFigures:
        """Put the gradients of the loss on a batch of tokens (n, d) into the weights."""
        config, device = self._config, tokens.device.type
        half = config.precision == "bfloat16" or (
            config.precision == "auto" and device == "cuda"
        )
        self._unit_decoder()
        self._adam.zero_grad()
        tokens = tokens * self._scale
        dead = self._idle_steps > config.dead_after_steps
        d_sae = self.d_sae
        parts = math.ceil(len(tokens) * d_sae * 4 / (config.chunk_mb * 2**20))
        warmth = min(1.0, (self.step + 1) / max(1, config.warmup_steps))
        figures = torch.zeros(5, device=tokens.device)
        fired = torch.zeros_like(dead)
        for chunk in tokens.tensor_split(parts):
            with torch.autocast(device, torch.bfloat16, enabled=half):
                loss = loss_of(self.weights, chunk, dead, config, warmth)
            share = len(chunk) / len(tokens)
            (loss.total * share).backward()  # type: ignore[no-untyped-call]
            fired |= loss.fired
            figures += share * _figures(loss, chunk)
            self._follow_threshold(loss)
        if self._guide is not None:
            further = self._guide(self._encode, self.step)
            further.backward()  # type: ignore[no-untyped-call]
            figures[_AUXILIARY] += further.detach()
        self._idle_steps = (self._idle_steps + 1).masked_fill(fired, 0)
        self._remove_parallel()
        variance = tokens.var(0, correction=0).sum()
        norms = [torch.linalg.vector_norm(g) for g in self._grads()]
        reconstruction, sparsity, auxiliary, active, error = figures
        numbers = torch.stack(
            [
                reconstruction,
                sparsity,
                auxiliary,
                1 - error / variance,
                active,
                dead.float().mean(),
                torch.linalg.vector_norm(torch.stack(norms)),
            ]
        )
        return StepFigures(*numbers.tolist())

    def update(self, figures: StepFigures) -> None:
        """Take one step of Adam along the gradients."""
        config = self._config
        if config.clip_norm is not None and figures.gradient_norm > config.clip_norm:
            for gradient in self._grads():
                gradient.mul_(config.clip_norm / figures.gradient_norm)
        for group in self._adam.param_groups:
            group["lr"] = config.rate_at(self.step)
        self._adam.step()
        self.step += 1

    def _encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Activations (..., d_sae) and by how much they pass the threshold in force."""
        flat = tokens.flatten(0, -2) * self._scale
        pre = self.weights.pre_activations(flat).reshape(*tokens.shape[:-1], -1)
        level = self.weights.log_threshold
        margins = pre - (self._threshold if level is None else level.detach().exp())
        return pre * (margins.detach() > 0), margins

    def _grads(self) -> list[Tensor]:
        return [w.grad for w in self.weights.named().values() if w.grad is not None]

    @torch.no_grad()
    def _unit_decoder(self) -> None:
        rows = self.weights.W_dec
        rows.div_(torch.linalg.vector_norm(rows, dim=1, keepdim=True))

    @torch.no_grad()
    def _remove_parallel(self) -> None:
        """Take from the decoder's gradient what would only change its rows' length."""
        rows, gradient = self.weights.W_dec, self.weights.W_dec.grad
        assert gradient is not None
        along = torch.linalg.vecdot(gradient, rows).unsqueeze(1)
        gradient.addcmul_(along, rows.detach(), value=-1)

    @torch.no_grad()
    def _follow_threshold(self, loss: Loss) -> None:
        if loss.threshold is None:
            return
        if self.step == 0:
            self._threshold = loss.threshold
        else:
            self._threshold = self._threshold.lerp(loss.threshold, 1 - _THRESHOLD_DECAY)


def _figures(loss: Loss, tokens: Tensor) -> Tensor:
    error = (loss.output - tokens).square().sum(-1).mean()
    terms = (loss.reconstruction, loss.sparsity, loss.auxiliary, loss.active, error)
    return torch.stack([term.detach().float() for term in terms])
