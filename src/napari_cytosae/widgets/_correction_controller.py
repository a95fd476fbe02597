"""Connects corrections by hand with the session: where they are painted, and taken over.

Cells of an image are painted in the layer that outlines them, those of a slide in a layer
that shows the part of them that was in view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_cytosae.core.label_blocks import LabelBlocks
from napari_cytosae.widgets import _tasks
from napari_cytosae.widgets._sentences import counted

if TYPE_CHECKING:
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._layer_facts import Box
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets._tasks import Corrected
    from napari_cytosae.widgets.cells_panel import CellsPanel


class CorrectionController:
    """Opens what can be painted in, and takes over what was painted."""

    def __init__(
        self, session: Session, desk: Desk, layers: CanvasLayers, panel: CellsPanel
    ) -> None:
        self._session, self._desk = session, desk
        self._layers, self._panel = layers, panel
        panel.correct_here_clicked.connect(self.correct_here)
        panel.use_edited_clicked.connect(self.use_edited)

    def close(self) -> None:
        """Leave the panel."""
        self._panel.correct_here_clicked.disconnect(self.correct_here)
        self._panel.use_edited_clicked.disconnect(self.use_edited)

    def correct_here(self) -> None:
        """Lay the cells in view of a slide over it, to be painted in."""
        cells, view = self._session.cells, self._layers.view.box()
        if cells is None:
            self._desk.fail("Segment the cells first.")
            return
        if self._layers.correction.edited():
            self._desk.fail(
                "Press 'Use edited cells' first, or delete the layer 'Correction': what "
                "was painted in it would be lost."
            )
            return
        if view is None:
            self._desk.fail("Nothing of the slide is in view: go to the cells first.")
            return

        def done(part: tuple[Box, Any]) -> str:
            if self._session.cells is not cells:
                return "Other cells were found meanwhile; look at them first."
            (y0, x0, y1, x1), labels = part
            hidden = self._session.hidden_cells()
            self._layers.correction.open(cells, part[0], labels, hidden)
            return (
                f"Correct these {x1 - x0:,} x {y1 - y0:,} px in the layer 'Correction', "
                "then press 'Use edited cells'."
            )

        self._desk.run("Cutting out the view", lambda: _tasks.cut_out(cells, view), done)

    def use_edited(self) -> None:
        """Take over what was corrected by hand."""
        image, cells = self._session.image, self._session.cells
        if image is None or cells is None:
            self._desk.fail("Segment the cells first, then correct them in their layer.")
            return
        box = self._layers.correction.box()
        of_slide = isinstance(cells.labels, LabelBlocks)
        painted_in = self._layers.correction if of_slide else self._layers.outlines
        layer = painted_in.layer()
        if layer is None:
            self._desk.fail(
                "Zoom in and press 'Correct here', then correct the cells in the layer "
                "'Correction'."
                if of_slide
                else "Segment the cells first, then correct them in their layer."
            )
            return
        data, corner = layer.data, None if box is None else box[:2]

        def done(result: Corrected) -> str:
            if self._session.cells is not cells:
                return "Other cells were found meanwhile; the correction was dropped."
            correction = result.correction
            changed, removed = len(correction.changed), len(correction.removed)
            if not changed and not removed:
                return f"No cell differs in the layer {layer.name}."
            painted_in.adopt(layer, result.painted, correction.cells)
            self._session.correct_cells(correction.cells, correction.changed.tolist())
            said = f"{counted(changed, 'cell')} measured again, {removed:,} removed"
            return f"{said}; Encode leaves the others as they are."

        self._desk.run(
            "Measuring the edited cells",
            lambda: _tasks.correct_cells(image, cells, data, corner),
            done,
        )
