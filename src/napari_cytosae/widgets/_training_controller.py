"""Connects the training form with the desk: one training at a time, never lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_cytosae.core import registry
from napari_cytosae.core.training_task import state_path
from napari_cytosae.widgets import _tasks
from napari_cytosae.widgets._sentences import counted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_cytosae.core.image_training import TrainedSae
    from napari_cytosae.core.training_task import ImageTraining
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import JobError
    from napari_cytosae.widgets.training_form import TrainingForm

_TOLD = 3
"""Images that could not be read and are named; the others are counted."""


class TrainingController:
    """Trains what `form` asks for.

    Parameters
    ----------
    session : Session
        Says which backbone, device and precision.
    desk : Desk
    form : TrainingForm
    on_trained : callable
        Takes the backbone and the file of the new SAE.
    """

    def __init__(
        self,
        session: Session,
        desk: Desk,
        form: TrainingForm,
        on_trained: Callable[[str, Path], None],
    ) -> None:
        self._session, self._desk, self._form = session, desk, form
        self._on_trained = on_trained
        form.set_folder(registry.models_folder())
        form.train_clicked.connect(self.train)
        form.file_chosen.connect(self._on_file)
        desk.busy_changed.connect(form.set_busy)

    def close(self) -> None:
        """Leave the desk."""
        self._desk.busy_changed.disconnect(self._form.set_busy)

    def train(self, asked: ImageTraining) -> None:
        """Train on the chosen device."""
        choice = self._session.choice
        task = replace(
            asked,
            backbone=asked.backbone or choice.backbone,
            device=choice.device,  # type: ignore[arg-type]
            precision=choice.precision,  # type: ignore[arg-type]
        )
        self._form.set_figures("")
        if not task.resume:
            # The box says that it is there, and was unticked.
            state_path(task.out).unlink(missing_ok=True)

        def done(trained: TrainedSae) -> str:
            self._on_file(task.out)
            self._on_trained(task.backbone, trained.path)
            self._form.set_figures(trained.figures)
            done = f"{trained.path.name} is trained; choose it under Model set."
            return " ".join([done, *_skipped(trained)])

        def stopped(_: tuple[Any, ...], error: JobError | None) -> None:
            self._on_file(task.out)
            if state_path(task.out).exists():
                self._desk.add("What is trained so far is kept; Train goes on.", error)

        self._desk.run(
            "Training", lambda: _tasks.train(task), done, stopped, self._on_figures
        )

    def _on_file(self, out: Path) -> None:
        self._form.set_resumable(state_path(out).exists())

    def _on_figures(self, metrics: Any) -> None:
        self._form.set_figures(f"Step {metrics.step:,} of {metrics.steps:,}: {metrics}")


def _skipped(trained: TrainedSae) -> list[str]:
    if not trained.skipped:
        return []
    names = ", ".join(list(trained.skipped)[:_TOLD])
    more = " ..." if len(trained.skipped) > _TOLD else ""
    return [f"{counted(len(trained.skipped), 'image')} could not be read: {names}{more}"]
