"""Leads a rater through concepts, keeps what is said, and compares raters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_cytosae.core.types import CytoError
from napari_cytosae.session_values import OVERLAY_COLOURS
from napari_cytosae.widgets import _explorer_tasks, _thumbnails
from napari_cytosae.widgets._sentences import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, Jobs
    from napari_cytosae.widgets.agreement_window import AgreementWindow
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel
    from napari_cytosae.widgets.rating_dialog import RatingDialog

_LANE, _AGREEMENT = "rating", "agreement"
CELLS_SHOWN = 24


class RatingController:
    """Opens its windows when they are first asked for."""

    def __init__(
        self, session: Session, desk: Desk, jobs: Jobs, panel: ConceptsPanel
    ) -> None:
        self._session, self._desk, self._jobs = session, desk, jobs
        self._panel = panel
        self._rater = ""
        self._order: Sequence[int] = ()
        self._said: dict[int, str] = {}
        self._place = 0
        self.dialog: RatingDialog | None = None
        self.window: AgreementWindow | None = None
        session.encoded_changed.connect(self._stop)

    def close(self) -> None:
        """Leave the session; the windows close."""
        self._session.encoded_changed.disconnect(self._stop)
        self._stop()
        if self.window is not None:
            self.window.close()

    def start(self) -> None:
        """Ask who rates, and how many of the concepts that the table lists."""
        if self._session.encoded is None or not self._panel.model.rowCount():
            self._desk.fail("Encode the cells first: their concepts are rated.")
            return
        if self.dialog is None:
            from napari_cytosae.widgets.rating_dialog import RatingDialog

            self.dialog = RatingDialog(parent=self._panel)
            self.dialog.started.connect(self._begin)
            self.dialog.rated.connect(self._rated)
            self.dialog.back_clicked.connect(lambda: self._go_to(self._place - 1))
        self.dialog.offer(self._panel.model.rowCount())
        self.dialog.show()
        self.dialog.raise_()

    def show_agreement(self) -> None:
        """Compare all whose ratings are kept for this SAE, imported ones too."""
        names = self._session.naming.names
        ratings = {} if names is None else names.ratings()
        if len(ratings) < 2:
            who = f"only {', '.join(ratings)} did" if ratings else "nobody did"
            self._desk.ask(f"Two must have rated, {who}: rate, or import a colleague's.")
            return
        if self.window is None:
            from napari_cytosae.widgets.agreement_window import AgreementWindow

            self.window = AgreementWindow(parent=self._panel)
            self.window.concept_clicked.connect(self._session.focus.select_concept)
        window = self.window

        def ended(end: Ended) -> None:
            window.set_tables(*end.value)
            window.show()
            window.raise_()

        self._jobs.run(
            _AGREEMENT,
            "Comparing raters",
            lambda: _explorer_tasks.compare_raters(ratings),
            on_ended=ended,
            on_failed=self._desk.fail_job,
        )

    def _begin(self, rater: str, count: int) -> None:
        from napari_cytosae.core.rating import blinded_order

        model = self._panel.model
        listed = [model.concept_at(row) for row in range(min(count, model.rowCount()))]
        self._rater = rater
        self._order = blinded_order([c for c in listed if c is not None], rater)
        names = self._session.naming.names
        self._said = {} if names is None else names.ratings().get(rater, {})
        unrated = [i for i, c in enumerate(self._order) if c not in self._said]
        self._go_to(unrated[0] if unrated else 0)

    def _rated(self, label: str) -> None:
        names = self._session.naming.names
        if names is None:
            return
        concept = self._order[self._place]
        try:
            names.rate(self._rater, {concept: label})
        except CytoError as error:
            self._desk.fail(str(error))
            return
        self._said = {c: said for c, said in self._said.items() if c != concept}
        if label:
            self._said[concept] = label
        self._go_to(self._place + 1)

    def _go_to(self, place: int) -> None:
        dialog = self.dialog
        assert dialog is not None
        total = len(self._order)
        if place >= total:
            said = sum(concept in self._said for concept in self._order)
            self._stop()
            of = counted(total, "concept")
            self._desk.say(f"{self._rater} rated {said} of {of}.")
            return
        self._place = place
        concept = self._order[place]
        dialog.ask(place + 1, total, self._said.get(concept, ""))
        models = self._session.models
        assert models is not None  # they made the activations
        work = _thumbnails.GalleryWork(
            models,
            _thumbnails.images_of(self._session, others=True),
            concept,
            (),
            OVERLAY_COLOURS[0],
        )

        def ended(end: Ended) -> None:
            # The numbers would tell concepts apart.
            cells = end.value[:CELLS_SHOWN]
            dialog.show_cells([replace(cell, caption="", tooltip="") for cell in cells])

        self._jobs.run(
            _LANE,
            "Looking for cells",
            lambda: _thumbnails.fill(work),
            on_ended=ended,
            on_failed=self._desk.fail_job,
        )

    def _stop(self, _: object = None) -> None:
        """Other cells have other concepts, in another order."""
        self._jobs.abandon(_LANE)
        self._order = ()
        if self.dialog is not None:
            self.dialog.close()
