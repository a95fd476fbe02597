"""Connects the explanation with the sessions and the canvas: bars, cells, what if."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.widgets._bars import AGAINST, FOR, TOTAL, Bar
from napari_cytosae.widgets._thumbnails import Thumbnail
from napari_cytosae.widgets.cells_panel import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cytosae.core.reading import Reading
    from napari_cytosae.patient_session import PatientSession
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._cells_controller import CellsController
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets._patient_layers import PatientLayers
    from napari_cytosae.widgets._why_page import WhyPage

GALLERY_CELLS = 500


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the analyst wants to go, while the image opens."""

    sha256: str
    cell_id: int
    concept: int | None


class WhyController:
    """Keeps `page` in step with the reading, and leads to the slides."""

    def __init__(
        self,
        session: Session,
        patients: PatientSession,
        desk: Desk,
        layers: CanvasLayers,
        images: PatientLayers,
        cells: CellsController,
        page: WhyPage,
    ) -> None:
        self._session, self._patients, self._desk = session, patients, desk
        self._layers, self._images, self._cells = layers, images, cells
        self._page = page
        self._concept: int | None = None
        self._chosen: tuple[int, ...] = ()
        self._place: _Place | None = None
        page.concept_picked.connect(self.pick)
        page.concept_counted.connect(self._on_counted)
        page.gallery.cells_selected.connect(self._on_cells)
        page.gallery.cell_activated.connect(self.go_to)
        page.leave_out_clicked.connect(self._on_leave_out)
        page.reset_clicked.connect(lambda: patients.leave_out((), ()))
        self._connections: list[tuple[Any, Callable[..., None]]] = [
            (patients.reading_changed, self._on_reading),
            (patients.label_changed, self._show),
            (patients.what_if_changed, self._on_what_if),
            (session.names_changed, self._show_bars),
            (session.encoded_changed, self._arrive),
        ]
        for signal, slot in self._connections:
            signal.connect(slot)

    def close(self) -> None:
        """Leave the sessions."""
        for signal, slot in self._connections:
            signal.disconnect(slot)

    def pick(self, concept: int | None) -> None:
        """Show the cells of a concept."""
        self._concept = concept
        self._show_cells()

    def go_to(self, position: int) -> None:
        """Show a cell on its slide, under the picked concept's overlay.

        The image is opened where it is not; its cells are there already.
        """
        reading = self._patients.reading
        if reading is None:
            return
        index, inside = reading.case.where(int(reading.rows[position]))
        image = reading.case.images[index]
        cell_id = int(image.encoded.cell_ids[inside])
        self._place = _Place(image.sha256, cell_id, self._concept)
        session, patients = self._session, self._patients
        assigned = patients.images_of(reading.case.patient)
        named = [one for one in assigned if one.name == image.name]
        layer = self._images.open(named[0]) if named else None
        if layer is None:
            self._desk.fail(f"{image.name} is no longer open: open it again.")
            return
        self._images.bring_up(named[0], patients.all_images())
        if session.image is not None and session.image.sha256 == image.sha256:
            if session.encoded is None:
                session.set_cells(image.cells, session.settings)
                session.set_encoded(
                    image.encoded, image.crops, session.settings.field_of_view_um
                )
            self._arrive()
            return
        self._cells.look_at(layer)

    def _arrive(self, _: Any = None) -> None:
        """Select and frame the cell once its image is open with its cells."""
        session, place = self._session, self._place
        encoded = session.encoded
        if (
            place is None
            or encoded is None
            or session.image is None
            or session.image.sha256 != place.sha256
            or place.cell_id not in encoded.cell_ids
        ):
            return
        self._place = None
        session.select_cells((place.cell_id,))
        if place.concept is not None:
            if session.slot_of(place.concept) is None and not session.show(place.concept):
                session.show(place.concept, slot=0)
            session.select_concept(place.concept)
        y0, x0, y1, x1 = encoded.boxes[list(encoded.cell_ids).index(place.cell_id)]
        self._layers.go_to((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2, float(x1 - x0))

    # --- what if ----------------------------------------------------------------------

    def _on_counted(self, concept: int, counted_in: bool) -> None:
        left_out = set(self._patients.what_if.concepts)
        left_out = left_out - {concept} if counted_in else left_out | {concept}
        self._patients.leave_out(concepts=left_out)

    def _on_cells(self, positions: tuple[int, ...]) -> None:
        self._chosen = positions
        self._show_what_if()

    def _on_leave_out(self) -> None:
        cells = self._patients.what_if.cells | set(self._chosen)
        reading = self._patients.reading
        if reading is not None and len(cells) >= len(reading.rows):
            self._desk.fail("At least one cell must be left.")
            return
        self._patients.leave_out(cells=cells)

    def _on_what_if(self, _: Any = None) -> None:
        self._show_bars()
        self._show_what_if()

    def _show_what_if(self) -> None:
        reading, what_if = self._patients.reading, self._patients.what_if
        label = self._patients.label
        text = ""
        if reading is not None and what_if and label:
            index = reading.head.classes.index(label)
            scores, p = reading.without(what_if.cells, what_if.concepts)
            gone = [
                counted(len(left), noun)
                for left, noun in ((what_if.concepts, "concept"), (what_if.cells, "cell"))
                if left
            ]
            now = reading.head.classes[int(p.argmax())]
            text = (
                f"Without {' and '.join(gone)}: score {reading.score(label):+.2f} would be "
                f"{scores[index]:+.2f}, probability {reading.probabilities[index]:.2f} "
                f"would be {p[index]:.2f}"
            )
            text += (
                "." if now == reading.predicted else f"; then {now} is the most probable."
            )
        self._page.set_what_if(text, left_out=bool(what_if), selected=len(self._chosen))

    # --- session -> page --------------------------------------------------------------

    def _on_reading(self, _: Any = None) -> None:
        self._concept, self._chosen = None, ()
        self._show()

    def _show(self, _: Any = None) -> None:
        self._show_bars()
        self._show_cells()
        self._show_what_if()

    def _show_bars(self, _: Any = None) -> None:
        reading, label = self._patients.reading, self._patients.label
        if reading is None or not label:
            self._page.set_bars("", (), None)
            return
        names = {} if self._session.names is None else self._session.names.as_dict()
        title = f"{label}: score {reading.score(label):+.2f} adds up from"
        bars = waterfall_bars(reading, label, names, self._patients.what_if.concepts)
        self._page.set_bars(title, bars, self._concept)

    def _show_cells(self) -> None:
        reading, label = self._patients.reading, self._patients.label
        if reading is None or not label:
            self._page.gallery.set_cells((), ())
            self._page.set_cells_title("")
            return
        index = reading.head.classes.index(label)
        change = reading.changes[:, index]
        if self._concept is None:
            order = reading.cells_for(label)
            title = "Cells that matter most, and the change they make:"
        else:
            order = reading.cells_of(self._concept)
            title = f"{counted(len(order), 'cell')} with {self._concept}, patches in each:"
            if not len(order):
                title = f"No cell shows {self._concept}: its absence counts."
        column = None
        if self._concept is not None:
            at = int(np.flatnonzero(reading.head.concepts == self._concept)[0])
            column = reading.counts[:, [at]].toarray()[:, 0]
        thumbnails = []
        for position in order[:GALLERY_CELLS]:
            image_index, inside = reading.case.where(int(reading.rows[position]))
            image = reading.case.images[image_index]
            moved = f"{change[position]:+.3f}"
            caption = moved if column is None else f"{column[position]:.0f}"
            cell_id = int(image.encoded.cell_ids[inside])
            thumbnails.append(
                Thumbnail(
                    int(position),
                    image.crops.images[inside],
                    caption,
                    f"{image.name}, cell {cell_id}; changes the score by {moved}",
                )
            )
        self._page.gallery.set_cells(thumbnails, self._chosen)
        self._page.set_cells_title(title)


def waterfall_bars(
    reading: Reading, label: str, names: dict[int, str], left_out: frozenset[int]
) -> list[Bar]:
    """Rows of the waterfall: each bar starts where the one before ended."""
    table = reading.waterfall(label, names)
    totals = np.concatenate([[0.0], table["total"]])
    low, high = min(totals.min(), 0.0), max(totals.max(), 0.0)
    scale = (totals - low) / max(high - low, 1e-12)
    bars = []
    rows = zip(table["concept"], table["name"], table["contribution"], strict=True)
    for row, (concept, name, value) in enumerate(rows):
        known = concept >= 0
        title = f"{concept} {name}".rstrip() if known else str(name)
        bars.append(
            Bar(
                int(concept) if known else None,
                title,
                float(scale[row]),
                float(scale[row + 1]),
                f"{value:+.2f}",
                (FOR if value >= 0 else AGAINST) if known else TOTAL,
                f"{title}: {value:+.4f}, up to here {table['total'].iloc[row]:+.4f}",
                None if not known else concept not in left_out,
            )
        )
    return bars
