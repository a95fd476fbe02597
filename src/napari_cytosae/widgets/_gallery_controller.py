"""Connects the gallery with the session and the slide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_cytosae.session_values import OVERLAY_COLOURS
from napari_cytosae.widgets import _catalogue_cells, _thumbnails
from napari_cytosae.widgets._connections import Connections
from napari_cytosae.widgets._layer_facts import role_of
from napari_cytosae.widgets._sentences import counted

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_cytosae.session import Session
    from napari_cytosae.session_values import Place, Selection, Verdict
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._image_controller import ImageController
    from napari_cytosae.widgets._jobs import Ended, Jobs, Work
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel

_LANE = "gallery"


class GalleryController:
    """Shows the cells that drive a concept, and goes to the one that is clicked."""

    def __init__(
        self,
        session: Session,
        desk: Desk,
        jobs: Jobs,
        layers: CanvasLayers,
        image: ImageController,
        panel: ConceptsPanel,
    ) -> None:
        self._session, self._desk, self._jobs = session, desk, jobs
        self._layers, self._image, self._panel = layers, image, panel
        self._going: Place | None = None
        self._selected = session.focus.selection
        self._count, self._drawn_in = 0, ""
        self._remarks: dict[Place, str] = {}
        panel.gallery.cells_selected.connect(self._select)
        panel.gallery.cell_activated.connect(self._go_to)
        panel.judged.connect(self._judge)
        panel.below.draws_changed.connect(self._show_cells)
        panel.below.source_changed.connect(self._show_cells)
        self._connections = Connections(
            (session.encoded_changed, self._show_cells),
            (session.encoded_changed, self._arrive),
            (session.focus.selection_changed, self._on_selection),
            (session.naming.changed, self._show_caption),
            (session.exploration.facts_changed, self._show_cells),
            (session.hide_flagged_changed, self._show_cells),
            (session.focus.scope_changed, self._show_cells),
            (session.overlays.changed, self._on_overlays),
            (session.review.changed, self._show_verdicts),
            (session.kept, self._show_cells),
            (layers.removed, self._on_removed),
            (layers.choices_changed, self._show_caption),
        )

    def close(self) -> None:
        """Leave session and canvas."""
        self._connections.close()

    def _on_selection(self, selection: Selection) -> None:
        before, self._selected = self._selected, selection
        if selection.concept != before.concept:
            self._show_cells()
        else:
            self._panel.gallery.set_selected(self._session.focus.picked)

    def _on_overlays(self, _: Any) -> None:
        """Draw the concept into its cells in the colour that it has on the slide now."""
        if self._colour(self._selected.concept) != self._drawn_in:
            self._show_cells()

    def _on_removed(self, layer: Layer, by_us: bool) -> None:
        """Show no cells of an image that was closed."""
        if not by_us and not role_of(layer):
            self._show_cells()

    def _select(self, places: tuple[Place, ...]) -> None:
        """Select the cells of this image and pick those of others, not of a catalogue."""
        image, known = self._session.image, self._session.encoded_images()
        here = "" if image is None else image.sha256
        self._session.focus.select_cells(
            [cell for sha256, cell in places if sha256 == here],
            elsewhere=[each for each in places if each[0] != here and each[0] in known],
        )

    def _go_to(self, place: Place) -> None:
        """Show a cell on its slide, which is looked at first where it is another one.

        Not while several are picked: that would be the end of the picks.
        """
        image, focus = self._session.image, self._session.focus
        if len(focus.picked) > 1 and place in focus.selection.elsewhere:
            return
        if place in self._remarks:
            self._desk.say(self._remarks[place])
            return
        if image is not None and place[0] == image.sha256:
            self._layers.view.bring_up()
            self._show_on_slide(place[1])
            return
        self._going = place
        if not self._image.look_at_image(place[0]):
            self._going = None
            self._desk.fail("The image of this cell is no longer open: open it again.")

    def _arrive(self, _: Any = None) -> None:
        image, place = self._session.image, self._going
        if image is None or place is None or self._session.encoded is None:
            return
        self._going = None
        if place[0] == image.sha256:
            self._session.focus.select_cells((place[1],))
            self._show_on_slide(place[1])

    def _show_on_slide(self, cell_id: int) -> None:
        encoded = self._session.encoded
        if encoded is not None and cell_id in encoded.cell_ids:
            y0, x0, y1, x1 = encoded.boxes[list(encoded.cell_ids).index(cell_id)]
            self._layers.view.go_to((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2, float(x1 - x0))

    def _show_cells(self, _: Any = None) -> None:
        session, below = self._session, self._panel.below
        if session.encoded is None or session.image is None:
            self._jobs.abandon(_LANE)
            self._panel.gallery.set_cells((), ())
            self._panel.set_driving("")
            return
        self._show_sources()
        self._drawn_in = self._colour(session.focus.selection.concept)
        from_catalogue = below.source == "catalogue"
        work = self._catalogue_work() if from_catalogue else self._work()

        def ended(end: Ended) -> None:
            self._count = len(end.value)
            said = end.value if from_catalogue else ()
            self._remarks = {cell.key: cell.tooltip for cell in said}
            self._panel.gallery.set_cells(end.value, self._session.focus.picked)
            self._show_verdicts()

        self._jobs.run(
            _LANE,
            "Looking for cells",
            work,
            on_ended=ended,
            on_failed=self._desk.fail_job,
        )

    def _work(self) -> Work:
        """Cells of the image, or of all encoded ones that are open."""
        others = self._panel.below.source == "all"
        session, models = self._session, self._session.models
        assert models is not None  # they made the activations
        work = _thumbnails.GalleryWork(
            models,
            [
                image
                for image in _thumbnails.images_of(session, others=others)
                if not image.name or image.sha256 in self._layers.opened
            ],
            session.focus.selection.concept,
            session.focus.examples,
            self._drawn_in,
        )
        return lambda: _thumbnails.fill(work)

    def _catalogue_work(self) -> Work:
        """Cells of the open catalogues; none until a concept is selected."""
        session, models = self._session, self._session.models
        concept = session.focus.selection.concept
        assert models is not None  # the catalogues are of their SAE
        if concept is None:
            return _thumbnails.none
        work = _catalogue_cells.CatalogueWork(
            session.exploration.catalogues, concept, models, self._drawn_in
        )
        return lambda: _catalogue_cells.fill_from_catalogues(work)

    def _colour(self, concept: int | None) -> str:
        """In which colour a concept is drawn into its cells; empty: not at all."""
        if concept is None or not self._panel.below.draws:
            return ""
        slot = self._session.overlays.slot_of(concept)
        return OVERLAY_COLOURS[slot or 0]

    def _judge(self, verdict: Verdict) -> None:
        selection = self._session.focus.selection
        places = list(self._session.focus.picked)
        if self._panel.below.source != "catalogue":
            # A cell of another image is judged there, whether or not it is looked at yet.
            places = list(self._panel.gallery.selected()) or places
        if selection.concept is None or not places:
            self._desk.say("Select a concept and a cell to accept or reject it.")
            return
        for sha256 in dict.fromkeys(sha256 for sha256, _ in places):
            cells = [cell for of, cell in places if of == sha256]
            self._session.review.judge(selection.concept, cells, verdict, sha256)
        if verdict:
            self._panel.gallery.step(1)

    def _show_sources(self) -> int:
        """Offer what there is to look at; how many open images "all" leaves out."""
        session, opened = self._session, self._layers.opened
        assert session.image is not None
        images = {one for one in session.encoded_images() if one in opened}
        images.add(session.image.sha256)  # also where a part of it is encoded
        left_out = opened.count_others(images)
        self._panel.below.set_sources(
            images=len(images),
            left_out=left_out,
            catalogues=bool(session.exploration.catalogues),
        )
        return left_out

    def _show_verdicts(self, _: Any = None) -> None:
        concept = self._session.focus.selection.concept
        self._panel.gallery.set_verdicts(
            {
                (sha256, cell): said
                for sha256, (_, listed) in self._session.review.everywhere().items()
                for c, cell, said in listed
                if c == concept
            }
        )
        self._show_caption()

    def _show_caption(self) -> None:
        if self._session.encoded is None or self._session.image is None:
            return
        left_out = self._show_sources()
        concept = self._session.focus.selection.concept
        drive = "drives" if self._count == 1 else "drive"
        if self._panel.below.source == "catalogue":
            text = "Select a concept"
            if concept is not None:
                title = self._session.naming.title_of(concept)
                text = f"{counted(self._count, 'image')} {drive} {title}"
        elif self._session.focus.examples:
            text = "Like the examples"
        elif concept is None:
            text = counted(self._count, "cell")
        else:
            title = self._session.naming.title_of(concept)
            text = f"{counted(self._count, 'cell')} {drive} {title}"
        listed = self._session.review.here()
        if self._panel.below.source == "all":
            lists = self._session.review.everywhere().values()
            listed = [verdict for _, of_image in lists for verdict in of_image]
        verdicts = [v for c, _, v in listed if c == concept]
        if verdicts:
            accepted = verdicts.count("accept")
            text += f": {accepted} accepted, {len(verdicts) - accepted} rejected"
        if not self._session.encoded.complete:
            text += "; only a part of the image was encoded"
        if self._panel.below.source == "all" and left_out:
            text += f"; {counted(left_out, 'open image')} left out, not encoded"
        self._panel.set_driving(text)
