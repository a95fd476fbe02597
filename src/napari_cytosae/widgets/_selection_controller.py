"""Connects the cells on the canvas with the selection: what is clicked, what is framed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core.crops import patch_at, patch_box
from napari_cytosae.widgets._connections import Connections

if TYPE_CHECKING:
    from napari_cytosae.session import Session
    from napari_cytosae.session_values import Selection
    from napari_cytosae.widgets._layers import CanvasLayers

_FRAMES = 30
"""So many selected cells are framed on the canvas; each frame costs napari 1 ms."""


class SelectionController:
    """Selects the cell that is clicked on the slide, and frames what is selected."""

    def __init__(self, session: Session, layers: CanvasLayers) -> None:
        self._session, self._layers = session, layers
        self._framed = session.focus.selection
        self._connections = Connections(
            (session.focus.selection_changed, self._on_selection),
            (layers.clicked, self._on_click),
            (layers.picked, self._on_pick),
        )

    def close(self) -> None:
        """Leave session and canvas."""
        self._connections.close()

    def _on_selection(self, selection: Selection) -> None:
        before, self._framed = self._framed, selection
        if (selection.cell_ids, selection.patch) != (before.cell_ids, before.patch):
            self._frame()

    def _on_click(self, y: float, x: float, patch: bool) -> None:
        session, cell = self._session, self._cell_at(y, x)
        if cell is None or session.encoded is None:
            return
        if cell == 0 and (patch or session.focus.scope == "patch"):
            cell = self._cell_around(y, x)
        if cell == 0 or cell not in session.encoded.cell_ids:
            session.focus.select_cells(())
            if session.focus.scope in ("cells", "patch"):
                session.focus.set_scope("image")
            return
        box = session.encoded.boxes[list(session.encoded.cell_ids).index(cell)]
        grid = 16 if session.models is None else session.models.grid
        session.focus.select_cells((cell,), patch_at(box, y + 0.5, x + 0.5, grid))
        if patch:
            session.focus.set_scope("patch")
        elif session.focus.scope in ("image", "patch"):
            session.focus.set_scope("cells")

    def _on_pick(self, y: float, x: float) -> None:
        """Pick one more cell, or one less, as Ctrl+click in the gallery does."""
        focus, cell = self._session.focus, self._cell_at(y, x)
        encoded, chosen = self._session.encoded, focus.selection
        if not cell or encoded is None or cell not in encoded.cell_ids:
            return
        left = tuple(each for each in chosen.cell_ids if each != cell)
        cells = left if cell in chosen.cell_ids else (*left, cell)
        focus.select_cells(cells, elsewhere=chosen.elsewhere)
        if focus.scope in ("image", "patch"):
            focus.set_scope("cells")

    def _cell_at(self, y: float, x: float) -> int | None:
        """The cell at a point of the image, 0 where there is none; None beyond it."""
        cells = self._session.cells
        if cells is None or self._session.encoded is None:
            return None
        row, column = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
        height, width = cells.labels.shape
        if not (0 <= row < height and 0 <= column < width):
            return None
        return int(cells.labels[row, column])

    def _cell_around(self, y: float, x: float) -> int:
        """The cell whose crop shows the point nearest to its middle, or 0."""
        encoded = self._session.encoded
        assert encoded is not None
        y0, x0, y1, x1 = encoded.boxes.T
        inside = (y0 <= y + 0.5) & (y + 0.5 < y1) & (x0 <= x + 0.5) & (x + 0.5 < x1)
        if not inside.any():
            return 0
        distance = np.hypot((y0 + y1) / 2 - y, (x0 + x1) / 2 - x)
        return int(encoded.cell_ids[np.where(inside, distance, np.inf).argmin()])

    def _frame(self) -> None:
        encoded, selection = self._session.encoded, self._session.focus.selection
        if encoded is None or self._layers.source is None:
            self._layers.show_selection([])
            return
        chosen = np.flatnonzero(np.isin(encoded.cell_ids, selection.cell_ids))[:_FRAMES]
        boxes = [tuple(float(edge) for edge in encoded.boxes[i]) for i in chosen]
        if selection.patch is not None and len(chosen) == 1:
            grid = 16 if self._session.models is None else self._session.models.grid
            boxes.append(patch_box(encoded.boxes[chosen[0]], *selection.patch, grid))
        self._layers.show_selection(boxes)  # type: ignore[arg-type]
