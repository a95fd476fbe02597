"""Connects overlays on the canvas with the session and the table's ticks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_cytosae.session_values import OVERLAY_COLOURS, Look, Overlay
from napari_cytosae.widgets import _concept_tasks
from napari_cytosae.widgets._connections import Connections

if TYPE_CHECKING:
    from napari_cytosae.session import Session
    from napari_cytosae.session_values import Selection
    from napari_cytosae.widgets._concept_tasks import DrawnOverlay
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, Jobs
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel

_LANE = "overlay"
_FULL = "Four concepts are shown already; untick one of them first."
_REST_MS = 100
"""A row of the table on which pointer or keys rest for so long may be about to be ticked.

napari takes a tenth of a second to add a layer: the one that then waits stays, hidden, when
they leave, so that this is paid once a tick and not at each rest.
"""


class OverlaysController:
    """Keeps ticks, overlay controls and overlay layers in step with the session."""

    def __init__(
        self,
        session: Session,
        desk: Desk,
        jobs: Jobs,
        layers: CanvasLayers,
        panel: ConceptsPanel,
    ) -> None:
        self._session, self._desk, self._jobs = session, desk, jobs
        self._layers, self._panel = layers, panel
        self._grids: dict[int, Any] = {}
        self._drawn: dict[int, tuple[int, bool]] = {}
        self._front = session.overlays.front
        self._rest = QTimer(panel, singleShot=True, interval=_REST_MS)
        self._rest.timeout.connect(self._expect_tick)
        panel.table.entered.connect(lambda _: self._rest.start())
        panel.table.concept_selected.connect(self._on_row)
        panel.table.left.connect(self._expect_nothing)
        panel.toggle_clicked.connect(self._toggle_selected)
        panel.slot_chosen.connect(self._show_in_slot)
        panel.model.show_toggled.connect(self._show_or_hide)
        controls = panel.overlay
        controls.opacity_changed.connect(lambda v: self._restyle(Look(opacity=v)))
        controls.threshold_changed.connect(lambda v: self._restyle(Look(threshold=v)))
        controls.smooth_toggled.connect(lambda v: self._restyle(Look(smooth=v)))
        controls.bar_toggled.connect(lambda v: self._restyle(Look(bar=v)))
        self._connections = Connections(
            (session.encoded_changed, self._on_encoded),
            (session.focus.selection_changed, self._show_controls),
            (session.overlays.changed, self._on_overlays),
            (session.naming.changed, self._on_names),
            (layers.overlays.deleted, self._on_overlay_deleted),
            (layers.overlays.restyled, self._on_overlay_restyled),
        )
        self._show_controls()

    def close(self) -> None:
        """Leave session and canvas."""
        self._rest.stop()
        self._layers.overlays.dismiss()
        self._connections.close()

    def _on_encoded(self, _: Any) -> None:
        self._grids, self._drawn = {}, {}
        self._layers.overlays.dismiss()
        self._jobs.abandon(_LANE)

    def _on_names(self) -> None:
        for slot, overlay in enumerate(self._session.overlays.slots):
            if overlay is not None:
                self._layers.overlays.rename(
                    slot, self._session.naming.title_of(overlay.concept)
                )
        self._show_controls()

    def _on_overlays(self, overlays: tuple[Overlay | None, ...]) -> None:
        self._panel.model.set_colours(
            {o.concept: o.colour for o in overlays if o is not None}
        )
        for slot, overlay in enumerate(overlays):
            if overlay is None:
                self._drawn.pop(slot, None)
                self._layers.overlays.remove(slot)
            elif self._drawn.get(slot) == (overlay.concept, overlay.smooth):
                self._layers.overlays.style(slot, overlay)
        if self._front != self._session.overlays.front:
            self._raise()
        self._show_controls()
        self._draw()

    def _raise(self) -> None:
        """Lay the concept that was shown last over the others.

        Only then: the analyst may have put the layers in another order since.
        """
        self._front = self._session.overlays.front
        slot = None if self._front is None else self._session.overlays.slot_of(self._front)
        if slot is not None:
            self._layers.overlays.raise_(slot)

    def _on_row(self, _: int) -> None:
        # A concept is selected from elsewhere, too, and then nobody leaves the table.
        table = self._panel.table
        if table.window().focusWidget() is table:
            self._rest.start()

    def _expect_tick(self) -> None:
        from napari_cytosae.core.overlay import empty_map

        session = self._session
        if session.encoded is None or session.image is None or self._layers.source is None:
            return
        if None in session.overlays.slots:
            colour = OVERLAY_COLOURS[session.overlays.slots.index(None)]
            empty = empty_map(session.image.shape).layer_data()
            self._layers.overlays.expect(empty, Overlay(-1, colour))

    def _expect_nothing(self) -> None:
        self._rest.stop()
        self._layers.overlays.rest()

    def _draw(self) -> None:
        session = self._session
        encoded, models, image = session.encoded, session.models, session.image
        if encoded is None or models is None or image is None:
            return
        wanted = [
            (overlay.concept, overlay.smooth)
            for slot, overlay in enumerate(session.overlays.slots)
            if overlay is not None
            and self._drawn.get(slot) != (overlay.concept, overlay.smooth)
        ]
        if not wanted:
            return
        shape = image.shape
        grids = dict(self._grids)

        def ended(end: Ended) -> None:
            for drawn in end.value:
                self._lay(drawn)
            if any(drawn.concept == self._front for drawn in end.value):
                self._raise()

        self._jobs.run(
            _LANE,
            "Drawing overlays",
            lambda: _concept_tasks.draw_overlays(models, encoded, shape, wanted, grids),
            on_ended=ended,
            on_failed=self._desk.fail_job,
        )

    def _lay(self, drawn: DrawnOverlay) -> None:
        slot = self._session.overlays.slot_of(drawn.concept)
        overlay = None if slot is None else self._session.overlays.slots[slot]
        if slot is None or overlay is None or self._layers.source is None:
            return
        self._grids[drawn.concept] = drawn.grids
        self._drawn[slot] = (drawn.concept, drawn.smooth)
        self._layers.overlays.show(
            slot,
            self._session.naming.title_of(drawn.concept),
            drawn.data,
            drawn.top,
            overlay,
        )

    def _show_or_hide(self, concept: int, shown: bool) -> None:
        self._desk.answered(_FULL)
        self._session.focus.select_concept(concept)
        if not shown:
            self._session.overlays.hide(concept)
        elif not self._session.overlays.show(concept):
            self._desk.ask(_FULL)

    def _toggle_selected(self) -> None:
        concept = self._session.focus.selection.concept
        if concept is not None:
            self._show_or_hide(concept, self._session.overlays.slot_of(concept) is None)

    def _show_in_slot(self, slot: int) -> None:
        concept = self._session.focus.selection.concept
        if concept is not None:
            self._desk.answered(_FULL)
            self._session.overlays.show(concept, slot)

    def _restyle(self, look: Look) -> None:
        concept = self._session.focus.selection.concept
        if concept is not None:
            self._session.overlays.restyle(concept, look)

    def _on_overlay_deleted(self, slot: int) -> None:
        overlay = self._session.overlays.slots[slot]
        if overlay is not None:
            self._session.overlays.hide(overlay.concept)

    def _on_overlay_restyled(self, slot: int, visible: bool, opacity: float) -> None:
        overlay = self._session.overlays.slots[slot]
        if overlay is not None:
            look = Look(visible=visible, opacity=opacity)
            self._session.overlays.restyle(overlay.concept, look)

    def _show_controls(self, _: Selection | None = None) -> None:
        concept = self._session.focus.selection.concept
        slot = None if concept is None else self._session.overlays.slot_of(concept)
        self._panel.overlay.set_concept(
            concept,
            "" if concept is None else self._session.naming.name_of(concept),
            None if slot is None else self._session.overlays.slots[slot],
        )
