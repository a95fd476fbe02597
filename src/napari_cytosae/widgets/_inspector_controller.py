"""Follows the cursor over the canvas and shows the concepts under it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.core.crops import patch_at
from napari_cytosae.widgets import _inspection
from napari_cytosae.widgets._connections import Connections

if TYPE_CHECKING:
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._jobs import Ended, Jobs
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel

_LANE = "inspector"
_CELLS_KEPT = 8


class InspectorController:
    """Works only while the inspector is in view; a cell's maps are made once."""

    def __init__(
        self, session: Session, jobs: Jobs, layers: CanvasLayers, panel: ConceptsPanel
    ) -> None:
        self._session, self._jobs = session, jobs
        self._panel = panel
        self._maps: OrderedDict[int, _inspection.CellMaps] = OrderedDict()
        self._wanted: tuple[int, tuple[int, int]] | None = None
        panel.below.inspector.concept_clicked.connect(session.focus.select_concept)
        panel.below.currentChanged.connect(self._on_selection)
        self._connections = Connections(
            (session.encoded_changed, self._on_encoded),
            (session.focus.selection_changed, self._on_selection),
            (session.focus.scope_changed, self._on_selection),
            (session.overlays.changed, self._on_selection),
            (layers.hovered, self._on_hover),
        )

    def close(self) -> None:
        """Leave session and canvas."""
        self._connections.close()

    def _on_encoded(self, _: Any) -> None:
        self._jobs.abandon(_LANE)
        self._maps.clear()
        self._wanted = None
        self._panel.below.inspector.show_patch(None)

    def _pinned(self) -> tuple[int, tuple[int, int]] | None:
        selection = self._session.focus.selection
        if self._session.focus.scope != "patch" or selection.patch is None:
            return None
        return selection.cell_ids[0], selection.patch

    def _on_selection(self, _: Any) -> None:
        pinned = self._pinned()
        if pinned is not None:
            self._look(*pinned)
        elif self._panel.below.currentWidget() is self._panel.below.inspector:
            self._show()

    def _on_hover(self, y: float, x: float) -> None:
        session = self._session
        if session.encoded is None or session.cells is None or self._pinned() is not None:
            return
        row, column = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
        labels = session.cells.labels
        if not (0 <= row < labels.shape[0] and 0 <= column < labels.shape[1]):
            return
        places = np.flatnonzero(session.encoded.cell_ids == labels[row, column])
        if not places.size or session.models is None:
            return
        box = session.encoded.boxes[places[0]]
        patch = patch_at(box, y + 0.5, x + 0.5, session.models.grid)
        if patch is not None:
            self._look(int(labels[row, column]), patch)

    def _look(self, cell_id: int, patch: tuple[int, int]) -> None:
        """Show a patch now, or when the maps of its cell are there."""
        session, below = self._session, self._panel.below
        wanted = cell_id, patch
        in_view = below.currentWidget() is below.inspector
        if not in_view or (wanted == self._wanted and wanted != self._pinned()):
            return
        self._wanted = wanted
        models, encoded = session.models, session.encoded
        if models is None or encoded is None:
            return
        if cell_id in self._maps:
            self._show()
            return
        row = int(np.flatnonzero(encoded.cell_ids == cell_id)[0])

        def ended(end: Ended) -> None:
            self._maps[end.value.cell_id] = end.value
            while len(self._maps) > _CELLS_KEPT:
                self._maps.popitem(last=False)
            self._show()

        self._jobs.run(
            _LANE,
            "Looking at a cell",
            lambda: _inspection.cell_maps(models, encoded, row),
            on_ended=ended,
            on_failed=lambda _: None,
        )

    def _show(self) -> None:
        session = self._session
        if self._wanted is None or session.encoded is None or session.crops is None:
            return
        cell_id, patch = self._wanted
        if cell_id not in self._maps:
            return
        row = int(np.flatnonzero(session.encoded.cell_ids == cell_id)[0])
        ticked = [overlay for overlay in session.overlays.slots if overlay is not None]
        found = _inspection.inspect(
            self._maps[cell_id],
            patch,
            session.crops.images[row],
            session.naming.title_of,
            session.focus.selection.concept,
            {overlay.concept: overlay.colour for overlay in ticked},
        )
        pinned = self._pinned() == self._wanted
        self._panel.below.inspector.show_patch(found, pinned=pinned)
