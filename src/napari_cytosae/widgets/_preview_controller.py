"""Connects the preview of step 2 with session and canvas: the cells now in view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

from napari_cytosae.widgets import _tasks
from napari_cytosae.widgets._connections import Connections
from napari_cytosae.widgets._sentences import counts_of

if TYPE_CHECKING:
    from napari_cytosae.core.preview import Conditions
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Cells, Image
    from napari_cytosae.session import Session
    from napari_cytosae.session_values import CellSettings
    from napari_cytosae.widgets._jobs import Ended, JobError, Jobs
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets.cells_panel import CellsPanel

_LANE = "preview"
_PAUSE_MS = 300
"""The camera has to rest that long, and the view to be drawn meanwhile."""


class PreviewController:
    """Segments what the canvas shows, as long as the preview is on."""

    def __init__(
        self, session: Session, jobs: Jobs, layers: CanvasLayers, panel: CellsPanel
    ) -> None:
        self._session, self._jobs, self._panel = session, jobs, panel
        self._layers, self._on, self._again = layers, False, False
        # The image that was previewed last, and what a search settles on the whole of it.
        self._settled: tuple[Image | Pyramid, Conditions] | None = None
        self._pause = QTimer(panel)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._look)
        panel.preview_toggled.connect(self._switch)
        panel.segment_clicked.connect(self._switch_off)
        self._connections = Connections(
            (layers.view.moved, self._later),
            (layers.preview.deleted, self._switch_off),
            (session.settings_changed, self._on_settings),
            (session.image_changed, self._later),
            (session.hide_flagged_changed, self._later),
            (session.cells_changed, self._on_cells),
        )

    def close(self) -> None:
        """Leave session and canvas."""
        self._switch_off()
        self._connections.close()

    def _switch(self, on: bool) -> None:
        self._on, self._again = on, False
        self._layers.view.watch(on)
        self._panel.set_preview(on, "looking at the view ..." if on else "")
        if on:
            self._pause.start(0)
            return
        self._pause.stop()
        self._jobs.abandon(_LANE)
        self._layers.preview.remove()
        self._settled = None

    def _switch_off(self) -> None:
        if self._on:
            self._switch(False)

    def _on_settings(self, settings: CellSettings) -> None:
        if settings.shows == "smear":
            self._later()
        else:
            self._switch_off()

    def _on_cells(self, cells: Cells | None) -> None:
        if cells is not None:
            self._switch_off()

    def _later(self, *_: object) -> None:
        if self._on:
            self._pause.start()

    def _look(self) -> None:
        if self._jobs.running(_LANE) is not None:
            # One at a time: a step under way cannot be stopped, and would pile up.
            self._again = True
            return
        image, box = self._session.image, self._layers.view.box()
        if image is None or box is None:
            self._nothing(
                "nothing of the image is in view." if image else "reading the image ..."
            )
            return
        kinds = self._session.settings.kinds
        settled = None
        if self._settled is not None and self._settled[0] is image:
            settled = self._settled[1]

        def ended(end: Ended) -> None:
            if self._session.image is image:
                cells, conditions = end.value
                self._settled = (image, conditions)
                self._show(cells, box)
            self._repeat()

        def failed(error: JobError) -> None:
            self._nothing(str(error))
            self._repeat()

        self._jobs.run(
            _LANE,
            "Previewing",
            lambda: _tasks.preview_cells(image, box, kinds, settled),
            on_ended=ended,
            on_failed=failed,
        )

    def _repeat(self) -> None:
        if self._again:
            self._again = False
            self._later()

    def _show(self, cells: Cells, box: tuple[int, int, int, int]) -> None:
        flagged = int((cells.table["qc"] != "ok").sum())
        hidden = self._session.hidden_cells(cells)
        self._layers.preview.show(cells, box, hidden)
        text = f"{counts_of(cells) or 'no cells'} in view"
        if flagged:
            text += f"; {flagged:,} flagged"
        if hidden:
            text += ", hidden" if len(hidden) == flagged else f", {len(hidden):,} hidden"
        self._panel.set_preview(True, text)

    def _nothing(self, why: str) -> None:
        self._layers.preview.remove()
        self._panel.set_preview(True, why)
