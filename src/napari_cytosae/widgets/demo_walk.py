"""The demo in the viewer: presses the dock's own buttons, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer

from napari_cytosae.core.types import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    import napari

    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import Cells, Encoded
    from napari_cytosae.widgets.main_widget import CytoSAEWidget

PAUSE_MS = 800
"""Between two steps, so that each can be seen."""


class DemoWalk(QObject):
    """Segments, encodes, shows concepts and exports, as soon as each can be done.

    Every step waits for the dock to say that the one before is done. An error, a cancelled
    job or an impatient user ends the walk where it is; the dock stays usable all along.

    Parameters
    ----------
    viewer : napari.Viewer
        The sample is opened in it.
    dock : CytoSAEWidget
        Its dock.
    output : Path
        Folder for the results.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        dock: CytoSAEWidget,
        output: Path,
        pause_ms: int = PAUSE_MS,
    ) -> None:
        super().__init__(dock)
        self._viewer, self._dock, self._output = viewer, dock, output
        self._pause_ms = pause_ms
        session = dock.session
        self._once(session.image_changed, dock.cells_panel.segment_clicked.emit)
        self._once(session.cells_changed, dock.cells_panel.encode_clicked.emit)
        self._once(session.encoded_changed, self._choose)

    def start(self) -> None:
        """Open the built-in smear; everything else follows."""
        self._dock.cells_panel.sample_clicked.emit()

    def _once(self, signal: Any, action: Callable[[], None]) -> None:
        """Do `action` a moment after `signal` first brings a value."""

        def listen(value: object) -> None:
            if value is None:
                return
            signal.disconnect(listen)
            self._later(action)

        signal.connect(listen)

    def _later(self, action: Callable[[], None]) -> None:
        QTimer.singleShot(self._pause_ms, self, action)

    def _choose(self) -> None:
        session = self._dock.session
        models, cells, encoded = session.models, session.cells, session.encoded
        if models is None or cells is None or encoded is None:
            return
        self._dock.desk.run(
            "Choosing concepts", lambda: _choose(models, cells, encoded), self._show
        )

    def _show(self, concepts: list[int]) -> str:
        for concept in concepts:
            self._dock.session.overlays.show(concept)
        if concepts:
            self._dock.session.focus.select_concept(concepts[0])
        self._later(self._export)
        return "The ticked concepts lie over the slide; saving everything next."

    def _export(self) -> None:
        self._dock.concepts_panel.export_clicked.emit(str(self._output))


def _choose(
    models: Models, cells: Cells, encoded: Encoded
) -> Generator[Progress, None, list[int]]:
    yield Progress("Choosing concepts", 0, 0)
    from napari_cytosae.demo import telling_concepts

    return telling_concepts(models, cells, encoded)
