"""Connects corrections by hand with the session: where they are painted, and taken over.

Cells of an image are painted in the layer that outlines them, those of a slide in a layer
that shows the part of them that was in view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_cytosae.widgets import _tasks
from napari_cytosae.widgets._painted import edits_left, of_slide, painted_in
from napari_cytosae.widgets._sentences import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._layer_facts import Box
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets._tasks import Corrected
    from napari_cytosae.widgets.correction_row import CorrectionRow


class CorrectionController:
    """Opens what can be painted in, and takes over what was painted."""

    def __init__(
        self,
        session: Session,
        desk: Desk,
        layers: CanvasLayers,
        row: CorrectionRow,
        outline: Callable[[], None],
    ) -> None:
        """`outline` has the cells outlined again where their layer is gone."""
        self._session, self._desk = session, desk
        self._layers, self._row, self._outline = layers, row, outline
        row.correct_here_clicked.connect(self.correct_here)
        row.use_edited_clicked.connect(self.use_edited)
        session.cells_changed.connect(self._show_layer)
        layers.choices_changed.connect(self._show_layer)

    def close(self) -> None:
        """Leave session, canvas and panel."""
        self._row.correct_here_clicked.disconnect(self.correct_here)
        self._row.use_edited_clicked.disconnect(self.use_edited)
        self._session.cells_changed.disconnect(self._show_layer)
        self._layers.choices_changed.disconnect(self._show_layer)

    def _show_layer(self, _: Any = None) -> None:
        """Say in which layer to paint; another image may have one of that name already."""
        cells = self._session.cells
        if cells is not None:
            layer, slide = painted_in(self._layers, cells).layer(), of_slide(cells)
            name = "Correction" if slide else "Cells"
            self._row.set_layer(name if layer is None else layer.name, slide=slide)

    def not_taken_over(self) -> str:
        """What to do before the cells are used: something was painted; empty where not."""
        cells = self._session.cells
        layer = None if cells is None else edits_left(self._layers, cells)
        if layer is None:
            return ""
        return (
            f"Edits in the layer '{layer.name}' are not taken over yet: press 'Use edited "
            "cells' in step 2 first."
        )

    def correct_here(self) -> None:
        """Lay the cells in view of a slide over it, to be painted in."""
        cells, view = self._session.cells, self._layers.view.box()
        if cells is None:
            self._desk.fail("Segment the cells first.")
            return
        left = edits_left(self._layers, cells)
        if left is not None:
            self._desk.fail(
                f"Press 'Use edited cells' first, or delete the layer '{left.name}': what "
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
            layer = self._layers.correction.open(cells, part[0], labels, hidden)
            return (
                f"Correct these {x1 - x0:,} x {y1 - y0:,} px in the layer '{layer.name}', "
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
        painted = painted_in(self._layers, cells)
        layer = painted.layer()
        if layer is None and of_slide(cells):
            self._desk.fail(
                "Zoom in and press 'Correct here', then correct the cells in the layer "
                "'Correction'."
            )
            return
        if layer is None:
            self._outline()
            self._desk.say(
                "The layer of the cells was deleted and is laid over the image again: "
                "correct them there."
            )
            return
        if layer.data.ndim != 2:
            self._desk.fail(
                f"The layer '{layer.name}' is a stack by now: delete it, and correct the "
                "cells in a layer of one plane."
            )
            return
        data, corner = layer.data, None if box is None else box[:2]
        gone = self._session.found.gone

        def done(result: Corrected) -> str:
            if self._session.cells is not cells:
                return "Other cells were found meanwhile; the correction was dropped."
            correction = result.correction
            changed, removed = len(correction.changed), len(correction.removed)
            painted.adopt(layer, result)
            specks = _left_out(correction.specks)
            if not changed and not removed:
                apart = ": cells that do not touch are not one"
                why = specks or (apart if result.renamed[0].size else "")
                return f"No cell differs in the layer {layer.name}{why}."
            corrected = self._session.found.corrected(
                correction.cells, correction.changed.tolist(), correction.gone
            )
            self._session.set_found(corrected)
            said = f"{counted(changed, 'cell')} measured again, {removed:,} removed"
            return f"{said}{specks}; Encode leaves the others as they are."

        self._desk.run(
            "Measuring the edited cells",
            lambda: _tasks.correct_cells(image, cells, data, corner, gone),
            done,
        )


def _left_out(specks: int) -> str:
    """What is said of specks that were left out; empty where there are none."""
    if not specks:
        return ""
    return f"; {counted(specks, 'speck')} of up to 1 um2 left out: paint cells larger"
