"""The patient's cells in the order the page in front asks for, and the way to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.widgets._connections import Connections
from napari_cytosae.widgets._sentences import counted
from napari_cytosae.widgets._thumbnails import Thumbnail

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_cytosae.core.case import CaseImage
    from napari_cytosae.core.differential import Differential
    from napari_cytosae.core.reading import Reading
    from napari_cytosae.patient_session import PatientSession
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._image_controller import ImageController
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets._patient_layers import PatientLayers
    from napari_cytosae.widgets.patient_panel import PatientPanel

_CELLS, _LETTERS = 500, 7
_SLIDE_SHARE = 0.95
"""Of the canvas that a whole image takes."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the analyst wants to go, while the image opens."""

    image: CaseImage
    cell_id: int
    concept: int | None


class PatientCells:
    """Keeps the gallery in step with what is explained, and leads to the slides."""

    def __init__(
        self,
        session: Session,
        patients: PatientSession,
        desk: Desk,
        layers: CanvasLayers,
        images: PatientLayers,
        image: ImageController,
        panel: PatientPanel,
    ) -> None:
        self._session, self._patients, self._desk = session, patients, desk
        self._layers, self._images, self._image = layers, images, image
        self._panel = panel
        self._place: _Place | None = None
        self._others: list[tuple[Reading, int]] = []
        panel.gallery.cells_selected.connect(self._on_selected)
        panel.gallery.cell_activated.connect(self.go_to)
        panel.patient_chosen.connect(self._show_slide)
        panel.pages.currentChanged.connect(self._show)
        self._connections = Connections(
            (patients.reading_changed, self._show),
            (patients.label_changed, self._show),
            (patients.concept_changed, self._show),
            (patients.differential_changed, self._on_differential),
            (session.encoded_changed, self._arrive),
        )

    def close(self) -> None:
        """Leave the sessions."""
        self._connections.close()

    def go_to(self, key: int) -> None:
        """Show a cell of the gallery on its slide, under the picked concept's overlay.

        The image is opened where it is not; its cells are there already.
        """
        session, patients = self._session, self._patients
        reading, position = patients.reading, key
        if key < 0:
            reading, position = self._others[-key - 1]
        if reading is None:
            return
        index, inside = reading.case.where(int(reading.rows[position]))
        image = reading.case.images[index]
        cell_id = int(image.encoded.cell_ids[inside])
        self._place = _Place(image, cell_id, patients.concept)
        assigned = patients.images_of(reading.case.patient)
        layer = self._images.open(assigned[image.number])
        if layer is None:
            self._desk.fail(f"{image.name} is no longer open: open it again.")
            return
        self._images.bring_up(assigned[image.number], patients.all_images())
        settings = session.settings
        field = settings.field_of_view_um
        if session.image is not None and session.image.sha256 == image.sha256:
            if session.cells is None:
                session.set_cells(image.cells, settings)
            if session.cells is image.cells and session.encoded is None:
                session.set_encoded(image.encoded, image.crops, field)
            self._arrive()
            return
        found = session.found_images().get(image.sha256)
        if found is not None and found.cells is image.cells and found.encoded is None:
            session.keep(image.sha256, found.seen(image.crops, image.encoded, field))
        self._image.look_at(layer)

    def _arrive(self, _: Any = None) -> None:
        """Select and frame the cell once its image is open with its cells."""
        session, place = self._session, self._place
        encoded = session.encoded
        if (
            place is None
            or session.image is None
            or session.image.sha256 != place.image.sha256
        ):
            return
        if encoded is None or place.cell_id not in encoded.cell_ids:
            if session.cells not in (None, place.image.cells):
                self._place = None
                self._desk.say(f"Cell {place.cell_id} was changed since: predict again.")
            return
        self._place = None
        session.focus.select_cells((place.cell_id,))
        if place.concept is not None:
            if not session.overlays.show(place.concept):
                session.overlays.show(place.concept, slot=0)
            session.focus.select_concept(place.concept)
        y0, x0, y1, x1 = encoded.boxes[list(encoded.cell_ids).index(place.cell_id)]
        self._layers.view.go_to((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2, float(x1 - x0))

    def _show_slide(self, patient: str) -> None:
        """Let the canvas follow when another patient is chosen, where it can."""
        images, everyone = self._patients.images_of(patient), self._patients.all_images()
        shown = self._layers.source
        for image in images:
            layer = self._images.find(image)
            if layer is not None and layer is shown:
                self._images.bring_up(image, everyone)
                return
        opened = [image for image in images if self._images.find(image) is not None]
        if opened:
            self._images.bring_up(opened[0], everyone)
            layer = self._images.find(opened[0])
            assert layer is not None
            self._image.look_at(layer)
            (top, left), (bottom, right) = layer.extent.data[:, -2:]
            size = max(bottom - top, right - left)
            self._layers.view.go_to(
                (top + bottom) / 2, (left + right) / 2, size, _SLIDE_SHARE
            )
        elif shown is not None:
            how = "click a cell to open its slide" if self._patients.reading else "Predict"
            self._desk.say(
                f"No image of {patient} is open: the canvas still shows {shown.name}. "
                f"For one of {patient}, {how}."
            )

    def _on_selected(self, keys: Sequence[int]) -> None:
        """What is left out or called are the present patient's cells alone."""
        self._patients.select([key for key in keys if key >= 0])

    def _on_differential(self, _: Any = None) -> None:
        if self._panel.counting:
            self._show()

    def _show_across(self, concept: int) -> None:
        """The cells of all predicted patients that show a concept."""
        patients = self._patients
        found = [
            (float(patches[position]), reading, int(position))
            for reading in patients.readings.values()
            for patches in [reading.patches_of(concept)]
            for position in np.flatnonzero(patches)
        ]
        found.sort(key=lambda one: -one[0])
        self._others = []
        thumbnails = []
        for strength, reading, position in found[:_CELLS]:
            name, key, caption = reading.case.patient, position, f"{strength:.0f}"
            if reading is not patients.reading:
                self._others.append((reading, position))
                key, caption = -len(self._others), f"{caption} {_short(name)}"
            about = f"{name}, predicted {reading.predicted}: {strength:.0f} patches"
            thumbnails.append(_thumbnail(key, reading, position, caption, about))
        of = counted(len({id(reading) for _, reading, _ in found}), "patient")
        title = f"{counted(len(found), 'cell')} of {of} with {concept}, patches in each:"
        self._panel.set_cells(title, thumbnails, patients.selected)

    def _show(self, _: Any = None) -> None:
        patients = self._patients
        reading, label, concept = patients.reading, patients.label, patients.concept
        if reading is None or not label:
            self._panel.set_cells("", (), ())
            return
        if self._panel.comparing and concept is not None:
            self._show_across(concept)
            return
        if self._panel.counting:
            order, captions = _to_count(reading, patients.types, patients.differential)
            doubted = patients.differential is not None
            first = "the most doubtful" if doubted else "those without a type"
            title = f"Cells, {first} first:"
        elif concept is not None:
            order = reading.cells_of(concept)
            patches = reading.patches_of(concept)
            captions = [f"{patches[position]:.0f}" for position in order[:_CELLS]]
            value, low, high = reading.interval(concept)
            title = (
                f"{counted(len(order), 'cell')} with {concept}; patches a cell "
                f"{value:.3g} [{low:.3g}, {high:.3g}]:"
            )
            if not len(order):
                title = f"No cell shows {concept}: its absence counts."
        else:
            order = reading.cells_for(label)
            change = reading.changes[:, reading.head.classes.index(label)]
            captions = [f"{change[position]:+.3f}" for position in order[:_CELLS]]
            title = "Cells that matter most (score change):"
        change = reading.changes[:, reading.head.classes.index(label)]
        thumbnails = []
        for position, caption in zip(order[:_CELLS], captions, strict=False):
            about = (
                f"{caption}; leaving it out changes the score by {-change[position]:+.3f}"
            )
            thumbnails.append(
                _thumbnail(int(position), reading, int(position), caption, about)
            )
        self._panel.set_cells(title, thumbnails, patients.selected)


def _thumbnail(
    key: int, reading: Reading, position: int, caption: str, about: str
) -> Thumbnail:
    index, inside = reading.case.where(int(reading.rows[position]))
    image = reading.case.images[index]
    cell_id = int(image.encoded.cell_ids[inside])
    tooltip = f"{image.name}, cell {cell_id}: {about}"
    return Thumbnail(key, image.crops.images[inside], caption, tooltip)


def _short(name: str) -> str:
    """The end of a patient's name, where names of one cohort differ."""
    return name if len(name) <= _LETTERS else f"...{name[3 - _LETTERS :]}"


def _to_count(
    reading: Reading, called: Any, found: Differential | None
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Order of the cells of a differential, and captions of those that are shown."""
    if found is None:
        known = np.array([int(row) in called for row in reading.rows])
        order = np.argsort(known, kind="stable").astype(np.int64)
        shown = reading.rows[order[:_CELLS]]
        return order, [called.get(int(row), "?") for row in shown]
    order = found.doubtful_first()
    captions = []
    for position in order[:_CELLS]:
        name, p = found.proposed(int(position))
        captions.append(name if found.called[position] else f"{p:.2f} {name}?")
    return order, captions
