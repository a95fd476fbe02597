"""Connects step 3 with the session and the canvas: concepts, overlays, gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.core.crops import patch_at, patch_box
from napari_cytosae.core.types import CytoError
from napari_cytosae.widgets import _tasks
from napari_cytosae.widgets.cells_panel import counted
from napari_cytosae.widgets.gallery import Thumbnail

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cytosae.core.types import Encoded
    from napari_cytosae.session import Overlay, Selection, Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, JobError, Jobs
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets._tasks import DrawnOverlay, EncodedCells
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel

GALLERY_CELLS = 500
_RANK, _DRAW = "rank", "overlay"


class ConceptsController:
    """Keeps `panel`, `layers` and `session` in step.

    Parameters
    ----------
    why_not_ready : callable
        What to do before the models can be used; empty where nothing is.
    """

    def __init__(
        self,
        session: Session,
        desk: Desk,
        jobs: Jobs,
        layers: CanvasLayers,
        panel: ConceptsPanel,
        why_not_ready: Callable[[], str],
    ) -> None:
        self._session, self._desk, self._jobs = session, desk, jobs
        self._layers, self._panel = layers, panel
        self._why_not_ready = why_not_ready
        self._grids: dict[int, Any] = {}
        self._drawn: dict[int, tuple[int, bool]] = {}
        self._summary: Any = None
        panel.export_clicked.connect(self.export)
        panel.scope_chosen.connect(session.set_scope)
        panel.toggle_clicked.connect(self._toggle_selected)
        panel.slot_chosen.connect(self._show_in_slot)
        panel.model.show_toggled.connect(self._show_or_hide)
        panel.model.renamed.connect(self._rename)
        panel.table.concept_selected.connect(session.select_concept)
        panel.overlay.renamed.connect(self._rename_selected)
        panel.overlay.opacity_changed.connect(lambda v: self._restyle(opacity=v))
        panel.overlay.threshold_changed.connect(lambda v: self._restyle(threshold=v))
        panel.overlay.smooth_toggled.connect(lambda v: self._restyle(smooth=v))
        panel.gallery.cells_selected.connect(self._on_gallery)
        panel.gallery.cell_activated.connect(self._go_to)
        desk.busy_changed.connect(self._show_stage)
        self._connections: list[tuple[Any, Callable[..., None]]] = [
            (session.cells_changed, self._show_stage),
            (session.encoded_changed, self._on_encoded),
            (session.scope_changed, self._on_scope),
            (session.selection_changed, self._on_selection),
            (session.overlays_changed, self._on_overlays),
            (session.names_changed, self._on_names),
            (session.hide_flagged_changed, self._on_hidden),
            (layers.clicked, self._on_click),
            (layers.overlay_deleted, self._on_overlay_deleted),
            (layers.overlay_restyled, self._on_overlay_restyled),
        ]
        for signal, slot in self._connections:
            signal.connect(slot)
        self._selected = session.selection
        self._show_stage()

    def close(self) -> None:
        """Leave session and canvas."""
        for signal, slot in self._connections:
            signal.disconnect(slot)

    # --- encoding and exporting -------------------------------------------------------

    def encode(self) -> None:
        """Encode all cells, loading the models first where that has not been done."""
        session = self._session
        image, cells, choice = session.image, session.cells, session.choice
        missing = self._why_not_ready()
        if missing or image is None or cells is None:
            self._desk.fail(missing or "Segment cells first.")
            return
        loaded = None
        if session.models is not None and session.names is not None:
            loaded = (session.models, session.names)
        field = session.settings.field_of_view_um

        def keep(result: EncodedCells) -> str:
            if session.choice == choice and session.models is not result.models:
                session.set_models(result.models, result.names)
            if session.cells is not cells or session.choice != choice:
                return "Image or models were changed meanwhile; the result was dropped."
            session.set_encoded(result.encoded, result.crops)
            count = counted(len(result.encoded), "cell")
            return f"{count} encoded; tick a concept to lay it over the slide."

        def stopped(partials: tuple[Any, ...], error: JobError | None) -> None:
            if len(partials) < 2:
                return

            def kept(result: EncodedCells) -> str:
                keep(result)
                text = f"Kept the {len(result.encoded):,} of {len(cells):,} cells done."
                self._desk.add(text, error)
                return ""

            self._desk.run("Keeping what is done", lambda: _tasks.joined(partials), kept)

        self._desk.run(
            "Encoding",
            lambda: _tasks.encode_cells(choice, loaded, image, cells, field),
            keep,
            stopped,
        )

    def export(self, folder: str) -> None:
        """Write what ``napari-cytosae analyze`` writes, overlays of ticked concepts too."""
        session = self._session
        image, cells, crops, encoded = (
            session.image,
            session.cells,
            session.crops,
            session.encoded,
        )
        models, names = session.models, session.names
        if (
            image is None
            or cells is None
            or crops is None
            or encoded is None
            or models is None
            or names is None
        ):
            self._desk.fail("Encode the cells first.")
            return
        ticked = [o.concept for o in session.overlays if o is not None]
        work = _tasks.Results(
            image,
            cells,
            crops,
            encoded,
            models,
            names.as_dict(),
            ticked,
            session.used_settings.as_parameters(),
        )
        self._desk.run(
            "Exporting",
            lambda: _tasks.export(Path(folder), work),
            lambda written: f"Saved in {written}.",
        )

    # --- session -> panel and canvas --------------------------------------------------

    def _show_stage(self, _: Any = None) -> None:
        cells = self._session.cells
        self._panel.set_stage(
            cells=None if cells is None else len(cells),
            encoded=self._session.encoded is not None,
            busy=self._desk.busy,
        )

    def _on_encoded(self, encoded: Encoded | None) -> None:
        self._grids, self._drawn, self._summary = {}, {}, None
        self._jobs.abandon(_RANK)
        self._jobs.abandon(_DRAW)
        self._show_stage()
        if encoded is not None:
            self._rank()
        self._show_gallery()

    def _on_scope(self, scope: str) -> None:
        self._panel.set_scope(self._session.scope)
        self._rank()

    def _on_hidden(self, _: bool) -> None:
        self._rank()
        self._show_gallery()

    def _on_names(self) -> None:
        names = self._session.names
        if names is None:
            return
        self._panel.model.set_names(names.as_dict())
        for slot, overlay in enumerate(self._session.overlays):
            if overlay is not None:
                self._layers.name_overlay(slot, self._layer_name(overlay.concept))
        self._show_controls()
        self._show_driving()

    def _on_selection(self, selection: Selection) -> None:
        before, self._selected = self._selected, selection
        self._panel.table.set_selected(selection.concept)
        self._show_controls()
        if selection.concept != before.concept:
            self._show_gallery()
        else:
            self._panel.gallery.set_selected(selection.cell_ids)
        if (selection.cell_ids, selection.patch) != (before.cell_ids, before.patch):
            self._frame_selection()
            if self._session.scope != "image":
                self._rank()

    # --- ranking ----------------------------------------------------------------------

    def _rank(self) -> None:
        session = self._session
        encoded, models, names = session.encoded, session.models, session.names
        if encoded is None or models is None or names is None:
            return
        scope, selection = session.scope, session.selection
        rows = session.rows(None if scope == "image" else selection.cell_ids)
        patch = selection.patch if scope == "patch" else None
        if scope == "patch" and patch is None:
            self._desk.say("Click a patch of a cell to rank its concepts.")
            return
        if scope == "cells" and not len(rows):
            self._desk.say("Click a cell to rank its concepts.")
            return
        work = _tasks.RankingWork(
            models, encoded, names.as_dict(), rows, patch, self._summary
        )

        def ended(end: Ended) -> None:
            self._summary = end.value.summary
            self._panel.model.set_ranking(end.value.table)

        self._jobs.run(
            _RANK,
            "Ranking",
            lambda: _tasks.rank(work),
            on_ended=ended,
            on_failed=self._fail,
        )

    # --- overlays ---------------------------------------------------------------------

    def _on_overlays(self, overlays: tuple[Overlay | None, ...]) -> None:
        self._panel.model.set_colours(
            {o.concept: o.colour for o in overlays if o is not None}
        )
        for slot, overlay in enumerate(overlays):
            if overlay is None:
                self._drawn.pop(slot, None)
                self._layers.remove_overlay(slot)
            elif self._drawn.get(slot) == (overlay.concept, overlay.smooth):
                self._layers.style_overlay(slot, overlay)
        self._show_controls()
        self._draw()

    def _draw(self) -> None:
        session = self._session
        encoded, models, image = session.encoded, session.models, session.image
        if encoded is None or models is None or image is None:
            return
        wanted = [
            (overlay.concept, overlay.smooth)
            for slot, overlay in enumerate(session.overlays)
            if overlay is not None
            and self._drawn.get(slot) != (overlay.concept, overlay.smooth)
        ]
        if not wanted:
            return
        height, width = image.rgb.shape[:2]
        grids = dict(self._grids)

        def ended(end: Ended) -> None:
            for drawn in end.value:
                self._lay(drawn)

        self._jobs.run(
            _DRAW,
            "Drawing overlays",
            lambda: _tasks.draw_overlays(models, encoded, (height, width), wanted, grids),
            on_ended=ended,
            on_failed=self._fail,
        )

    def _lay(self, drawn: DrawnOverlay) -> None:
        slot = self._session.slot_of(drawn.concept)
        overlay = None if slot is None else self._session.overlays[slot]
        if slot is None or overlay is None or self._layers.source is None:
            return
        self._grids[drawn.concept] = drawn.grids
        self._drawn[slot] = (drawn.concept, drawn.smooth)
        self._layers.show_overlay(
            slot, self._layer_name(drawn.concept), drawn.data, drawn.top, overlay
        )

    def _layer_name(self, concept: int) -> str:
        return f"{concept} {self._session.name_of(concept)}".rstrip()

    def _show_or_hide(self, concept: int, shown: bool) -> None:
        self._session.select_concept(concept)
        if not shown:
            self._session.hide(concept)
        elif not self._session.show(concept):
            self._desk.say("Four concepts are shown already; untick one of them first.")

    def _toggle_selected(self) -> None:
        concept = self._session.selection.concept
        if concept is not None:
            self._show_or_hide(concept, self._session.slot_of(concept) is None)

    def _show_in_slot(self, slot: int) -> None:
        concept = self._session.selection.concept
        if concept is not None:
            self._session.show(concept, slot)

    def _restyle(self, **changes: Any) -> None:
        concept = self._session.selection.concept
        if concept is not None:
            self._session.change_overlay(concept, **changes)

    def _on_overlay_deleted(self, slot: int) -> None:
        overlay = self._session.overlays[slot]
        if overlay is not None:
            self._session.hide(overlay.concept)

    def _on_overlay_restyled(self, slot: int, visible: bool, opacity: float) -> None:
        overlay = self._session.overlays[slot]
        if overlay is not None:
            self._session.change_overlay(overlay.concept, visible=visible, opacity=opacity)

    def _show_controls(self) -> None:
        concept = self._session.selection.concept
        slot = None if concept is None else self._session.slot_of(concept)
        self._panel.overlay.set_concept(
            concept,
            "" if concept is None else self._session.name_of(concept),
            None if slot is None else self._session.overlays[slot],
        )

    # --- names ------------------------------------------------------------------------

    def _rename_selected(self, name: str) -> None:
        concept = self._session.selection.concept
        if concept is not None:
            self._rename(concept, name)

    def _rename(self, concept: int, name: str) -> None:
        try:
            self._session.rename(concept, name)
        except CytoError as error:
            self._desk.fail(str(error))

    # --- cells on the canvas and in the gallery ---------------------------------------

    def _on_click(self, y: float, x: float, patch: bool) -> None:
        session = self._session
        if session.cells is None or session.encoded is None:
            return
        row, column = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
        height, width = session.cells.labels.shape
        if not (0 <= row < height and 0 <= column < width):
            return
        cell = int(session.cells.labels[row, column])
        if cell == 0 and (patch or session.scope == "patch"):
            cell = self._cell_around(y, x)
        if cell == 0 or cell not in session.encoded.cell_ids:
            session.select_cells(())
            session.set_scope("image")
            return
        box = session.encoded.boxes[list(session.encoded.cell_ids).index(cell)]
        grid = 16 if session.models is None else session.models.grid
        session.select_cells((cell,), patch_at(box, y + 0.5, x + 0.5, grid))
        if patch:
            session.set_scope("patch")
        elif session.scope == "image":
            session.set_scope("cells")

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

    def _on_gallery(self, cell_ids: tuple[int, ...]) -> None:
        self._session.select_cells(cell_ids)

    def _go_to(self, cell_id: int) -> None:
        encoded = self._session.encoded
        if encoded is not None and cell_id in encoded.cell_ids:
            y0, x0, y1, x1 = encoded.boxes[list(encoded.cell_ids).index(cell_id)]
            self._layers.go_to((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2, float(x1 - x0))

    def _frame_selection(self) -> None:
        encoded, selection = self._session.encoded, self._session.selection
        if encoded is None or self._layers.source is None:
            self._layers.show_selection([])
            return
        chosen = np.flatnonzero(np.isin(encoded.cell_ids, selection.cell_ids))
        boxes = [tuple(float(edge) for edge in encoded.boxes[i]) for i in chosen]
        if selection.patch is not None and len(chosen) == 1:
            grid = 16 if self._session.models is None else self._session.models.grid
            boxes.append(patch_box(encoded.boxes[chosen[0]], *selection.patch, grid))
        self._layers.show_selection(boxes)  # type: ignore[arg-type]

    def _show_gallery(self) -> None:
        session = self._session
        encoded, crops, cells = session.encoded, session.crops, session.cells
        if encoded is None or crops is None or cells is None:
            self._panel.gallery.set_cells((), ())
            self._panel.set_driving("")
            return
        concept = session.selection.concept
        rows = _tasks.thumbnail_order(encoded, session.rows(), concept)
        self._driving_cells = len(rows)
        qc = dict(zip(cells.table["cell_id"], cells.table["qc"], strict=True))
        thumbnails = []
        for row in rows[:GALLERY_CELLS]:
            cell_id = int(encoded.cell_ids[row])
            tooltip = f"Cell {cell_id}, {qc.get(cell_id, '')}"
            caption = str(cell_id)
            if concept is not None:
                top = float(encoded.activations.max[row, concept])
                caption = f"{top:.2f}"
                tooltip += f"; strongest patch {top:.3g}"
            thumbnails.append(Thumbnail(cell_id, crops.images[row], caption, tooltip))
        self._panel.gallery.set_cells(thumbnails, session.selection.cell_ids)
        self._show_driving()

    def _show_driving(self) -> None:
        if self._session.encoded is None:
            return
        concept = self._session.selection.concept
        if concept is None:
            text = f"Cells ({self._driving_cells:,}):"
        else:
            text = (
                f"Cells that drive {self._layer_name(concept)} ({self._driving_cells:,}):"
            )
        if not self._session.encoded.complete:
            text += " only a part of the image was encoded"
        self._panel.set_driving(text)

    def _fail(self, error: JobError) -> None:
        self._desk.fail(str(error), error.details)
