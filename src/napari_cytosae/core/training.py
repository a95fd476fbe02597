"""Train an SAE on the tokens of a backbone, from images, resumably."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from napari_cytosae.core._token_stream import Position, TokenStream, fingerprint
from napari_cytosae.core._trainer import StepFigures, Trainer
from napari_cytosae.core._training_start import fresh_tensors
from napari_cytosae.core._training_state import (
    TrainingState,
    load_state,
    save_state,
)
from napari_cytosae.core.checkpoints import SaeFile, open_sae, save_sae
from napari_cytosae.core.evaluation import evaluate_sae, loss_recovered
from napari_cytosae.core.files import require_writable
from napari_cytosae.core.sae import Sae
from napari_cytosae.core.training_config import (
    TrainingConfig,
    TrainingError,
    TrainingMetrics,
)
from napari_cytosae.core.training_task import former_path, state_path
from napari_cytosae.core.types import OutputError, Progress, SaeInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from torch import Tensor

    from napari_cytosae.core._token_blocks import Items
    from napari_cytosae.core._trainer import Guide
    from napari_cytosae.core.backbone import Backbone
    from napari_cytosae.core.types import Float32Array

# Images on which the loss recovered is followed during training.
_PROBE_IMAGES = 8

# A kill loses no more than this, however slow the steps are.
_CHECKPOINT_SECONDS = 60


def train_sae(
    source: Items | Iterable[Tensor | Float32Array],
    config: TrainingConfig | None = None,
    *,
    out: Path | str,
    backbone: Backbone | None = None,
    after: Callable[[Tensor], Tensor] | None = None,
    guide: Guide | None = None,
    layer: int = -2,
    backbone_name: str = "",
    training_data: str = "",
    licence: str = "",
    device: torch.device | str = "cpu",
    resume: bool = False,
) -> Generator[Progress, None, Path]:
    """Train an SAE and write it to `out`.

    A generator: each step yields a `Progress` in images, whose `partial` is that step's
    `TrainingMetrics`. Closing it early keeps the state reached, beside `out`, for
    `resume`; so does a kill, from the last checkpoint on. A resumed training ends with the
    very weights of one that was never interrupted.

    Parameters
    ----------
    source : sequence or iterable
        A sequence, gone through in a new random order each epoch, whose items are image
        paths, crops (uint8 RGB arrays; they may be drawn when asked for) or the tokens of
        one image (float, (t, d)), so that a (memory-mapped) array (n, t, d) will do. Or
        an iterable of token batches (float, (n, t, d)), taken in its own order and once,
        for as long as it lasts; to resume, it must begin anew and repeat itself.
    config : TrainingConfig, optional
        The recipe.
    out : Path or str
        The SAE, in our own safetensors format; one that is there already is kept under
        `training_task.former_path`.
    backbone : Backbone, optional
        Needed where the source holds images; moved to `device`.
    after : callable, optional
        Its later blocks (`evaluation.blocks_after`), on `device`: adds the loss recovered.
    guide : callable, optional
        A further term of the loss, for what else the concepts shall be good for. Takes a
        function and the number of the step, returns a scalar; must depend on nothing
        else, or a resumed training differs. The function turns tokens, (..., d), into
        activations, (..., d_sae), and what these have above the threshold in force
        (negative where silent); gradients flow through both. Not for topk, where latents
        compete within a token.
    layer : int
        The hooked block, as written into the file; that of `backbone` where one is given.
    backbone_name, training_data, licence : str
        Written into the file.
    device : torch.device or str
        Where to train.
    resume : bool
        Go on from a former call's state where there is one; a finished `out` of the same
        recipe is returned.

    Raises
    ------
    TrainingError
        No image can be read; another recipe is to be resumed, or an interrupted training
        of `out` to be replaced; or the loss is no longer a number: the last good
        checkpoint is then kept.
    OutputError
        A file cannot be written.
    """
    config, out, device = config or TrainingConfig(), Path(out), torch.device(device)
    if guide is not None and config.kind == "topk":
        raise TrainingError("topk has no threshold to guide; choose another kind.")
    kept = state_path(out)
    if backbone is not None:
        backbone = backbone.to(device)
        layer = backbone.layer - backbone.info.depth
        backbone_name = backbone_name or backbone.info.name
    if kept.exists() and not resume:
        raise TrainingError(
            f"{kept} holds an interrupted training of {out.name}: go on with it "
            "(--resume), or delete that file to begin anew."
        )
    if resume and out.exists() and not kept.exists():
        _require_same(out, config, layer)
        yield Progress("Training", config.images, config.images, "images")
        return out
    require_writable(out)
    yield Progress("Preparing", 0, config.images, "images")
    subject = {
        "layer": layer,
        "backbone": "" if backbone is None else backbone.info.sha256,
        "images": fingerprint(source),
    }
    state = load_state(kept, config, subject) if resume and kept.exists() else None
    stream = TokenStream(source, backbone, device, config)
    run = _Run(stream, config, device, after, guide, layer, state)
    batches = stream.batches(run.position)
    saved, saved_at = run.trainer.step, time.monotonic()
    try:
        while run.trainer.step < config.steps:
            batch = next(batches, None)
            if batch is None:
                break
            tokens, position = batch
            figures = run.trainer.gradients(tokens)
            if not figures.finite:
                raise _diverged(run.trainer.step, saved, kept)
            run.trainer.update(figures)
            run.position = position
            due = time.monotonic() - saved_at > _CHECKPOINT_SECONDS
            if due or run.trainer.step % config.checkpoint_steps == 0:
                if not run.trainer.finite():
                    raise _diverged(run.trainer.step, saved, kept)
                save_state(kept, run.state(), config, subject)
                saved, saved_at = run.trainer.step, time.monotonic()
            yield run.progress(figures)
    except GeneratorExit:
        if run.trainer.step > saved and run.trainer.finite():
            save_state(kept, run.state(), config, subject)
        raise
    try:
        run.save(out, backbone_name, training_data, licence)
    except OutputError:
        with suppress(OutputError):
            save_state(kept, run.state(), config, subject)
        raise
    kept.unlink(missing_ok=True)
    return out


class _Run:
    """What one call of `train_sae` keeps between its steps."""

    def __init__(
        self,
        stream: TokenStream,
        config: TrainingConfig,
        device: torch.device,
        after: Callable[[Tensor], Tensor] | None,
        guide: Guide | None,
        layer: int,
        state: TrainingState | None,
    ) -> None:
        self._stream = stream
        self._config = config
        self._after = after
        self._layer = layer
        self._recovered: float | None = None
        if state is None:
            start = fresh_tensors(stream.block(0), config)
            self.trainer = Trainer(start, 0, config, device, guide)
            self.position = Position()
        else:
            stream.skipped.update(state.skipped)
            self.trainer = Trainer(state.tensors, state.step, config, device, guide)
            self.position = state.position
        self._first_step = self.trainer.step
        self._started = time.perf_counter()

    def state(self) -> TrainingState:
        return TrainingState(
            self.trainer.step, self.position, self.trainer.tensors(), self._stream.skipped
        )

    def progress(self, figures: StepFigures) -> Progress:
        step, steps = self.trainer.step, self._config.steps
        if self._after is not None and step % self._config.metric_steps == 0:
            few = self._stream.probe[:_PROBE_IMAGES]
            self._recovered = loss_recovered(self._sae(), few, self._after)
        seconds = (time.perf_counter() - self._started) / (step - self._first_step)
        metrics = TrainingMetrics(
            step=step,
            steps=steps,
            loss=figures.loss,
            reconstruction=figures.reconstruction,
            sparsity=figures.sparsity,
            auxiliary=figures.auxiliary,
            explained_variance=figures.explained_variance,
            l0=figures.l0,
            dead_share=figures.dead_share,
            loss_recovered=self._recovered,
            learning_rate=self._config.rate_at(step - 1),
            seconds_left=seconds * (steps - step),
            skipped=dict(self._stream.skipped),
        )
        done = min(step * self._config.batch_images, self._config.images)
        return Progress("Training", done, self._config.images, "images", metrics)

    def save(self, out: Path, backbone_name: str, training_data: str, licence: str) -> None:
        config = self._config
        held_out = self._stream.held_out
        tokens = self._stream.newest if held_out is None else held_out
        found = evaluate_sae(self._sae(), tokens, self._after)
        where = "training images" if held_out is None else "images held out"
        figures = (
            f"on {where}: explained variance {found.explained_variance:.3f}, "
            f"L0 {found.l0:.1f}, never active {found.dead_share:.1%}"
        )
        if found.loss_recovered is not None:
            figures += f", loss recovered {found.loss_recovered:.3f}"
        seen = f"{self.trainer.step * config.batch_images:,} images seen; {figures}"
        if self._stream.skipped:
            seen = f"{len(self._stream.skipped)} of them could not be read; {seen}"
        if out.exists():
            out.replace(former_path(out))
        save_sae(
            out,
            self.trainer.sae_tensors(),
            kind=config.kind,
            layer=self._layer,
            k=_active(config, self.trainer.d_sae),
            backbone=backbone_name,
            training_data=f"{training_data} ({seen})".strip(),
            licence=licence,
        )

    def _sae(self) -> Sae:
        tensors = self.trainer.sae_tensors()
        d_in, d_sae = tensors["W_enc"].shape
        kind, k = self._config.kind, _active(self._config, d_sae)
        info = SaeInfo("training", kind, d_in, d_sae, self._layer, "", k=k)
        return Sae(SaeFile(info, tensors, {}))


def _active(config: TrainingConfig, d_sae: int) -> int | None:
    """The k that is written into the file."""
    return min(config.k, d_sae) if config.kind in ("topk", "batchtopk") else None


def _require_same(out: Path, config: TrainingConfig, layer: int) -> None:
    """Check that a finished SAE is the one that is asked for."""
    info = open_sae(out).info
    d_sae = config.expansion * info.d_in
    asked = (config.kind, layer, d_sae, _active(config, d_sae))
    if asked != (info.kind, info.layer, info.d_sae, info.k):
        raise TrainingError(
            f"{out} is finished, with other settings ({info.kind}, block {info.layer}, "
            f"{info.d_sae} latents"
            + (f", {info.k} active" if info.k else "")
            + "): give another file name, or do not resume, which replaces it."
        )


def _diverged(step: int, saved: int, kept: Path) -> TrainingError:
    left = (
        f"the checkpoint of step {saved} is kept in {kept}" if saved else "nothing was kept"
    )
    return TrainingError(
        f"The loss became NaN or infinite at step {step + 1}, {left}; lower the learning "
        "rate (--learning-rate) or look for images with extreme values."
    )
