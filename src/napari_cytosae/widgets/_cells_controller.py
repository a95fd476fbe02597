"""Connects step 2 with the session and the canvas: settings and search of the cells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_cytosae.widgets import _tasks
from napari_cytosae.widgets._connections import Connections
from napari_cytosae.widgets._layer_facts import classes_of, marked, place_in
from napari_cytosae.widgets._painted import edits_left
from napari_cytosae.widgets._sentences import describe_cells, segment_label

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_cytosae.core.types import Cells
    from napari_cytosae.session import Session
    from napari_cytosae.session_values import CellSettings
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets.cells_panel import CellsPanel


class CellsController:
    """Keeps `panel`, `layers` and `session` in step."""

    def __init__(
        self, session: Session, desk: Desk, layers: CanvasLayers, panel: CellsPanel
    ) -> None:
        self._session, self._desk = session, desk
        self._layers, self._panel = layers, panel
        # The layers as listed: a place in a list says nothing once layers move.
        self._labels: list[Labels] = []
        self._marks: Labels | None = None
        self._marks_chosen = False
        self._warned = False
        panel.labels_chosen.connect(self._on_labels_chosen)
        panel.settings_changed.connect(session.set_settings)
        panel.segment_clicked.connect(self.segment)
        panel.hiding.hide_toggled.connect(session.set_hide_flagged)
        panel.hiding.spared_changed.connect(session.set_spared)
        desk.busy_changed.connect(self._show_ready)
        self._connections = Connections(
            (layers.choices_changed, self._on_choices),
            (session.settings_changed, self._show_settings),
            (session.image_changed, self._show_ready),
            (session.cells_changed, self._show_cells),
            (session.hide_flagged_changed, panel.hiding.set_hide),
            (session.spared_changed, panel.hiding.set_spared),
        )
        self._on_choices()
        self._show_settings(session.settings)

    def close(self) -> None:
        """Leave session and canvas."""
        self._connections.close()

    # --- the layer that marks cells -----------------------------------------------------

    def _on_choices(self) -> None:
        labels = self._labels = self._layers.labels()
        settings = self._session.settings
        if not labels:
            self._marks_chosen = False
            if settings.shows == "labels":
                self._session.set_settings(replace(settings, shows="smear"))
        if self._marks not in labels:
            # Another layer never slips in for the one that was chosen.
            self._marks = labels[0] if labels and not self._marks_chosen else None
        self._panel.set_labels([la.name for la in labels], place_in(labels, self._marks))

    def _on_labels_chosen(self, index: int) -> None:
        if 0 <= index < len(self._labels):
            self._marks, self._marks_chosen = self._labels[index], True

    # --- the cells --------------------------------------------------------------------

    def segment(self) -> None:
        """Find the cells, as the settings say."""
        image, settings = self._session.image, self._session.settings
        if image is None:
            self._desk.fail("Choose an image first.")
            return
        labels, classes, elsewhere = None, dict[int, str](), ""
        warning = "" if self._warned else self._by_hand()
        if warning:
            self._warned = True
            self._desk.say(warning)
            return
        if settings.shows == "labels":
            layer = self._marks
            if layer is None:
                self._desk.fail("Choose the Labels layer that marks the cells first.")
                return
            labels, classes = marked(layer, image.shape), classes_of(layer)
            if not self._layers.covers_source(layer):
                elsewhere = (
                    f"The layer {layer.name} lies elsewhere on the canvas; its pixels were "
                    f"taken for those of {image.name}, one to one."
                )

        def done(cells: Cells) -> str:
            now = self._session.image
            if now is None or now.sha256 != image.sha256:
                return f"{image.name} is no longer open; its cells were dropped."
            self._session.set_cells(cells, settings, image.pixel_size)
            notes = [f"{note[:1].upper()}{note[1:]}." for note in cells.notes]
            remarks = [text for text in (elsewhere, *notes) if text]
            found = describe_cells(cells)
            return " ".join((f"{found.rstrip('.')}.", *remarks)) if remarks else found

        self._desk.run(
            "Segmenting", lambda: _tasks.find_cells(image, settings, labels, classes), done
        )

    def _by_hand(self) -> str:
        """What of the present cells is work by hand that others would replace."""
        session, own = self._session, self._layers.outlines.layer()
        cells, shows = session.cells, session.settings.shows
        if cells is None or (shows == "labels" and own is not None and self._marks is own):
            return ""
        again = f"press {segment_label(shows)} once more"
        if session.found.by_hand:
            return f"These cells were corrected by hand: {again} to replace them."
        left = edits_left(self._layers, cells)
        if left is None:
            return ""
        return (
            f"Edits in the layer '{left.name}' are not taken over yet: press 'Use edited "
            f"cells', or {again} to go on without them."
        )

    # --- session -> panel and canvas --------------------------------------------------

    def _show_settings(self, settings: CellSettings) -> None:
        self._panel.set_settings(settings)

    def _show_ready(self, _: Any = None) -> None:
        self._panel.set_ready(self._session.image is not None, busy=self._desk.busy)

    def _show_cells(self, cells: Cells | None) -> None:
        self._warned = False
        if cells is None:
            self._panel.set_cells("", flagged=0, count=0)
            return
        self._panel.set_cells(
            describe_cells(cells),
            flagged=int((cells.table["qc"] != "ok").sum()),
            count=len(cells),
        )
