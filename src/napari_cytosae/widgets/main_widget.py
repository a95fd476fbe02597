"""The dock: one tab a step, and the strip below them that never moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import (
    QApplication,
    QMainWindow,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_cytosae.core.types import Progress
from napari_cytosae.patient_session import PatientSession
from napari_cytosae.session import Session
from napari_cytosae.session_steps import state_of
from napari_cytosae.widgets._assembly import connect
from napari_cytosae.widgets._desk import Desk
from napari_cytosae.widgets._jobs import Jobs
from napari_cytosae.widgets._layers import CanvasLayers
from napari_cytosae.widgets._settings import CellsSettings, PanelSettings
from napari_cytosae.widgets._step_area import StepArea
from napari_cytosae.widgets.cells_panel import CellsPanel
from napari_cytosae.widgets.concepts_panel import ConceptsPanel
from napari_cytosae.widgets.models_panel import ModelsPanel
from napari_cytosae.widgets.patient_panel import PatientPanel
from napari_cytosae.widgets.status_strip import StatusStrip

if TYPE_CHECKING:
    from collections.abc import Generator

    import napari
    from qtpy.QtGui import QKeyEvent

    from napari_cytosae.session_values import Step


TITLES: dict[Step, str] = {
    "models": "Models",
    "cells": "Cells",
    "concepts": "Concepts",
    "patient": "Patient",
}
MARKS = {"done": "\N{BLACK CIRCLE}", "todo": "\N{WHITE CIRCLE}", "attention": "!"}
MEANINGS = {"done": "done", "todo": "not yet", "attention": "needs attention"}
SAMPLE = "smear"
_FORMER = "cytosae former session"
WIDTH_PX = 360
"""Narrowest dock in which nothing is cut off: fits a laptop's screen beside the canvas."""


class CytoSAEWidget(QWidget):
    """Puts session, jobs, canvas, panels and controllers together.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari.
    """

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        self._closed = True
        self._window: QMainWindow | None = None
        super().__init__(parent)
        self.session = Session()
        self.patients = PatientSession()
        self._viewer = napari_viewer
        self.jobs = Jobs(parent=self)
        self.layers = CanvasLayers(napari_viewer)
        self.strip = StatusStrip()
        self.desk = Desk(self.jobs, self.strip, parent=self)
        self.models_panel = ModelsPanel()
        self.cells_panel = CellsPanel()
        self.concepts_panel = ConceptsPanel()
        self.patient_panel = PatientPanel()
        self.tabs = QTabWidget()
        self.tabs.currentChanged.connect(lambda _: self.desk.answered())
        self._steps: list[Step] = []
        models = self._add_step("models", self.models_panel)
        self.models_panel.section_opened.connect(models.bring_up)
        self._add_step("cells", self.cells_panel)
        self._add_step("concepts", self.concepts_panel)
        self._add_step("patient", self.patient_panel)
        self.setMinimumWidth(WIDTH_PX)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.strip)

        parts = connect(self, napari_viewer)
        self.models, self.image = parts.models, parts.image
        self.cells, self.encoding = parts.cells, parts.encoding
        self._controllers = parts.all
        panel = self.concepts_panel
        self._settings = PanelSettings(panel), CellsSettings(self.session, self.cells_panel)
        panel.export_clicked.connect(
            lambda to: self.encoding.export(to, panel.tools.extras)
        )
        self.cells_panel.sample_clicked.connect(self._open_sample)
        self.cells_panel.encode_clicked.connect(self._encode)
        self.concepts_panel.encode_clicked.connect(self._encode)
        self.concepts_panel.segment_clicked.connect(self._segment)
        for signal in self._state_signals():
            signal.connect(self._show_states)
        self._show_states()
        # The starter needs no choosing: the first thing to do is in step 2.
        self.go_to_step("cells")
        # A job at work must not keep the process alive once its window is gone.
        application = QApplication.instance()
        assert application is not None
        self._quitting = application.aboutToQuit
        self._quitting.connect(self.leave)
        self._closed = False

    @property
    def step(self) -> Step:
        """Whose panel is shown."""
        return self._steps[self.tabs.currentIndex()]

    def go_to_step(self, step: Step) -> None:
        """Show a step's panel."""
        self.tabs.setCurrentIndex(self._steps.index(step))

    def _add_step(self, step: Step, panel: QWidget) -> StepArea:
        area = StepArea(panel)
        self._steps.append(step)
        self.tabs.addTab(area, "")
        return area

    def _state_signals(self) -> list[Any]:
        session = self.session
        return [
            session.models_changed,
            session.image_changed,
            session.settings_changed,
            session.cells_changed,
            session.encoded_changed,
            self.patients.reading_changed,
            self.patients.outdated_changed,
        ]

    def _show_states(self, _: Any = None) -> None:
        for index, step in enumerate(self._steps):
            state = (
                self.patients.state if step == "patient" else state_of(self.session, step)
            )
            self.tabs.setTabText(index, f"{index + 1} {TITLES[step]} {MARKS[state]}")
            self.tabs.setTabToolTip(index, f"{TITLES[step]}: {MEANINGS[state]}")

    def _open_sample(self) -> None:
        self.desk.run("Drawing the smear", _draw_sample, self._show_sample)

    def _show_sample(self, _: None) -> str:
        self._viewer.open_sample("napari-cytosae", SAMPLE)
        return ""

    def _segment(self) -> None:
        self.go_to_step("cells")
        self.cells.segment()

    def _encode(self) -> None:
        if self.encoding.encode():
            self.go_to_step("concepts")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys of step 3 also work where the focus is on the tabs."""
        area = self.tabs.currentWidget()
        if isinstance(area, QScrollArea) and area.widget() is self.concepts_panel:
            self.concepts_panel.keyPressEvent(event)
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        """Leave the viewer when napari takes the widget out of its dock for good."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.leave()
        elif event.type() == QEvent.Type.Show:
            self._watch_window()
        return bool(super().event(event))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Leave when the viewer's window closes, though the application goes on."""
        if event.type() == QEvent.Type.Close and watched is self._window:
            if event.spontaneous():
                # napari may ask, and stay.
                QTimer.singleShot(0, self, self._leave_closed_window)
            else:
                self.leave()
        return bool(super().eventFilter(watched, event))

    def _watch_window(self) -> None:
        window = self.window()
        # A floating dock is a window too, but not the one whose end is ours.
        if not self._closed and isinstance(window, QMainWindow):
            if self._window is not None:
                self._window.removeEventFilter(self)
            self._window = window
            window.installEventFilter(self)
            former = window.property(_FORMER)
            if isinstance(former, Session):
                window.setProperty(_FORMER, None)
                self.session.take_over(former)

    def _leave_closed_window(self) -> None:
        if self._window is not None and not self._window.isVisible():
            self.leave()

    def leave(self) -> None:
        """Stop all jobs and leave the viewer; harmless at any time, and when repeated."""
        if self._closed:
            return
        self._closed = True
        self._quitting.disconnect(self.leave)
        if self._window is not None:
            self._window.removeEventFilter(self)
            # A dock that is opened again in this window goes on from here.
            self._window.setProperty(_FORMER, self.session)
            self._window = None
        self.jobs.close()
        for signal in self._state_signals():
            signal.disconnect(self._show_states)
        for controller in self._controllers:
            controller.close()
        self.layers.close()


def _draw_sample() -> Generator[Progress, None, None]:
    """Draw the built-in smear, which takes too long for the GUI thread."""
    yield Progress("Drawing the smear", 0, 0)
    from napari_cytosae._sample_data import demo_smear

    demo_smear()
