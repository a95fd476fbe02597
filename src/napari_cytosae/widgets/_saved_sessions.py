"""Saves what is open in a dock, and opens it again as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from qtpy.QtCore import QTimer

from napari_cytosae.widgets import _session_tasks
from napari_cytosae.widgets._patients_view import patients_view, restore_patients
from napari_cytosae.widgets._sentences import counted
from napari_cytosae.widgets._session_view import DeskView

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_cytosae.patient_session import PatientSession
    from napari_cytosae.session import Session
    from napari_cytosae.session_values import Step
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._image_controller import ImageController
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel


class Steps(Protocol):
    """Tabs of a dock."""

    @property
    def step(self) -> Step:
        """Which is shown."""

    def go_to_step(self, step: Step) -> None:
        """Show another one."""


class SavedSessions:
    """Long work goes to the desk; what is opened waits for its image to be read."""

    def __init__(
        self,
        session: Session,
        patients: PatientSession,
        desk: Desk,
        image: ImageController,
        layers: CanvasLayers,
        panel: ConceptsPanel,
        steps: Steps,
    ) -> None:
        self._session, self._patients = session, patients
        self._desk, self._image = desk, image
        self._layers, self._panel, self._steps = layers, panel, steps
        self._restore: Callable[[Any], None] | None = None

    def close(self) -> None:
        """Listen to the session no more."""
        self._wait_for(None)

    def save(self, folder: Path) -> None:
        """Write the session, and where in it the analyst is.

        Raises
        ------
        CytoError
            If there is nothing to save.
        """
        session = self._session
        table = self._panel.table_view()
        patients = patients_view(self._patients, self._sha256_of)
        saved, left_out = _session_tasks.to_save(
            session, table, self._desk_view(), patients
        )
        names = session.naming.names
        text = counted(len(saved.images), "image")
        if left_out:
            text += f" ({left_out})"
        self._desk.run(
            "Saving the session",
            lambda: _session_tasks.save(folder, saved, names),
            lambda written: f"Saved {text} in {written}.",
        )

    def open(self, folder: Path) -> None:
        """Read a session, and go on where it was saved."""

        def show(opened: _session_tasks.Opened) -> str:
            self._restore_on(opened)
            count = counted(len(opened.found), "image")
            return opened.remark or f"Opened {folder.name}: {count}."

        self._desk.run(
            "Opening the session", lambda: _session_tasks.open_session(folder), show
        )

    def _restore_on(self, opened: _session_tasks.Opened) -> None:
        """Restore at once where the image in front is looked at, else when it is.

        Not any more once the analyst has gone to another image meanwhile.
        """
        session = self._session
        images = [found.image for found in opened.found if found.image is not None]

        def restore(image: Any) -> None:
            if image is None:
                return
            self._wait_for(None)
            if image.sha256 != images[0].sha256:
                left = f"{images[0].name} was left before it was read"
                self._say_last(f"{left}: open the session again.")
                return
            _session_tasks.restore(session, opened)
            if opened.view.table is not None:
                self._panel.set_table_view(opened.view.table)
            if opened.view.desk is not None:
                self._look_as(opened.view.desk)
            if opened.view.patients is not None:
                restore_patients(self._patients, opened.view.patients, self._layer_of)
            if opened.remark:
                self._say_last(opened.remark)

        self._wait_for(restore)
        desk = opened.view.desk
        order = [] if desk is None else list(desk.layers)
        # Those that no former session knows the place of lie below.
        lowest_first = sorted(
            images, key=lambda one: order.index(one.sha256) if one.sha256 in order else -1
        )
        self._image.open_images(lowest_first, images[0].sha256)
        if session.image is not None and session.image.sha256 == images[0].sha256:
            restore(session.image)

    def _say_last(self, text: str) -> None:
        """Say it after what is said of the image itself, which would replace it."""
        QTimer.singleShot(0, lambda: self._desk.say(text))

    def _desk_view(self) -> DeskView:
        below, layers = self._panel.below, self._layers
        return DeskView(
            self._steps.step,
            below.currentIndex(),
            below.wanted,
            layers.view.camera(),
            layers.looks.read(),
        )

    def _look_as(self, desk: DeskView) -> None:
        """Show what was before the analyst's eyes."""
        below, layers = self._panel.below, self._layers
        self._steps.go_to_step(desk.step)
        below.setCurrentIndex(desk.tab)
        below.set_source(desk.source)
        layers.looks.put(desk.layers)
        if not layers.looks.lie_as(desk.layers):
            # What was open already lies elsewhere, and may now be over the one in front.
            layers.view.bring_up()
        if desk.camera is not None:
            layers.view.set_camera(*desk.camera)

    def _layer_of(self, sha256: str) -> str:
        """Identity of an image's layer; empty where it is not open."""
        layer = self._layers.opened.layer(sha256)
        return "" if layer is None else str(layer.unique_id)

    def _sha256_of(self, layer: str) -> str:
        """Of the image whose layer has this identity; empty where it was not read."""
        seen = self._session.found_images()
        return next((sha256 for sha256 in seen if self._layer_of(sha256) == layer), "")

    def _wait_for(self, restore: Callable[[Any], None] | None) -> None:
        """Have a session, and no former one, restored with the next image."""
        if self._restore is not None:
            self._session.image_changed.disconnect(self._restore)
        self._restore = restore
        if restore is not None:
            self._session.image_changed.connect(restore)
