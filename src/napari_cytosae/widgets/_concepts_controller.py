"""Connects the table of concepts with the session: stage, ranking, names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.types import CytoError
from napari_cytosae.widgets import _concept_tasks, _scopes
from napari_cytosae.widgets._concept_rows import ConceptRows
from napari_cytosae.widgets._connections import Connections

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_cytosae.core._annotation import Annotation
    from napari_cytosae.core.concepts import Summary
    from napari_cytosae.core.types import Encoded, Progress
    from napari_cytosae.patient_session import PatientSession
    from napari_cytosae.session import Session
    from napari_cytosae.session_values import Scope, Selection
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, Jobs
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel

_LANE = "rank"
_NONE = "There are no cells of this kind in the image."
_ASK: dict[Scope, str] = {
    "patch": "Click a patch of a cell to rank its concepts.",
    "cells": "Click a cell to rank its concepts.",
    "like": "Select cells first (Ctrl+click picks several).",
    "wbc": _NONE,
    "rbc": _NONE,
    "platelet": _NONE,
    "accepted": "Accept cells first (A in the gallery).",
    "patient": "Choose a patient in step 4 whose images are encoded.",
}


class ConceptsController:
    """Keeps the table in step with the session."""

    def __init__(
        self,
        session: Session,
        patients: PatientSession,
        desk: Desk,
        jobs: Jobs,
        panel: ConceptsPanel,
    ) -> None:
        self._session, self._patients = session, patients
        self._desk, self._jobs, self._panel = desk, jobs, panel
        self._known: tuple[_concept_tasks.RankingWork, _concept_tasks.Ranked] | None = None
        self._selected = session.focus.selection
        panel.scope_chosen.connect(session.focus.set_scope)
        panel.model.renamed.connect(self._rename)
        panel.star_clicked.connect(self._star_selected)
        panel.table.concept_selected.connect(session.focus.select_concept)
        panel.overlay.renamed.connect(self._rename_selected)
        panel.searched.connect(desk.answered)
        panel.below.source_changed.connect(self._on_source)
        desk.busy_changed.connect(self._show_stage)
        self._connections = Connections(
            (session.cells_changed, self._show_stage),
            (session.encoded_changed, self._on_encoded),
            (session.kept, self._on_kept),
            (session.focus.scope_changed, self._on_scope),
            (session.focus.selection_changed, self._on_selection),
            (session.naming.changed, self._on_names),
            (session.hide_flagged_changed, self._rank),
            (session.exploration.facts_changed, self._on_facts),
            (session.exploration.where_changed, self._list_again),
            (session.review.changed, self._on_verdicts),
            (patients.current_changed, self._on_patients),
            (patients.patients_changed, self._on_patients),
        )
        self._show_stage()

    def close(self) -> None:
        """Leave the session."""
        self._connections.close()

    def _show_stage(self, _: Any = None) -> None:
        cells = self._session.cells
        self._panel.set_stage(
            cells=None if cells is None else len(cells),
            encoded=self._session.encoded is not None,
            catalogue=bool(self._session.exploration.catalogues),
            busy=self._desk.busy,
        )

    def _on_encoded(self, encoded: Encoded | None) -> None:
        self._known = None
        self._jobs.abandon(_LANE)
        # Of other cells than the ones that are named beside it, until the next ranking.
        self._panel.model.set_rows(ConceptRows.empty())
        self._show_stage()

    def _on_scope(self, _: str) -> None:
        self._desk.answered()
        # Announced after new activations too, changed or not.
        self._panel.set_scope(self._session.focus.scope)
        self._rank()

    def _on_selection(self, selection: Selection) -> None:
        before, self._selected = self._selected, selection
        self._panel.table.set_selected(selection.concept)
        moved = replace(selection, concept=None) != replace(before, concept=None)
        if moved and self._session.focus.scope in ("cells", "patch"):
            self._rank()

    def _on_names(self) -> None:
        names = self._session.naming.names
        if names is not None:
            self._panel.model.set_annotations(names.annotations())

    def _rename_selected(self, name: str) -> None:
        concept = self._session.focus.selection.concept
        if concept is not None:
            self._rename(concept, name)

    def _star_selected(self) -> None:
        session = self._session
        concept = session.focus.selection.concept
        if concept is None or session.naming.names is None:
            return
        said = session.naming.names.annotation(concept)
        try:
            session.naming.annotate(concept, replace(said, star=not said.star))
        except CytoError as error:
            self._desk.fail(str(error))

    def _rename(self, concept: int, name: str) -> None:
        try:
            self._session.naming.rename(concept, name)
        except CytoError as error:
            self._desk.fail(str(error))

    def _on_facts(self) -> None:
        self._show_stage()
        self._rank()

    def _on_source(self) -> None:
        # Examples are told from the cells that the gallery searches.
        if self._session.focus.scope == "like":
            self._rank()

    def _on_kept(self) -> None:
        # Another image is encoded, with whose cells these are compared.
        if self._session.focus.scope in ("image", "patient", "like"):
            self._rank()

    def _on_verdicts(self) -> None:
        if self._session.focus.scope == "accepted":
            self._rank()

    def _on_patients(self, _: Any = None) -> None:
        if self._session.focus.scope == "patient":
            self._rank()

    def _rank(self, _: Any = None) -> None:
        session = self._session
        encoded, models, names = session.encoded, session.models, session.naming.names
        if models is None or names is None:
            return
        if encoded is None:
            self._list_catalogue(names.annotations())
            return
        scope, selection = session.focus.scope, session.focus.selection
        others = self._panel.below.source == "all"
        parts = _scopes.parts(session, self._patients, others=others)
        patch = selection.patch if scope == "patch" else None
        missing = not any(len(part.chosen) for part in parts)
        if (missing or (scope == "patch" and patch is None)) and scope in _ASK:
            self._jobs.abandon(_LANE)
            self._panel.model.set_rows(ConceptRows.empty())
            self._desk.ask(_ASK[scope])
            return
        self._desk.answered(*_ASK.values())
        known, said = session.exploration, names.annotations()
        catalogue = next(iter(known.catalogues.values()), None)
        work = _concept_tasks.RankingWork(
            models,
            encoded,
            said,
            parts,
            patch,
            self._summary_of(parts),
            known.where,
            known.classes,
            None if catalogue is None else catalogue.mean_acts,
            known.stability,
            scope == "like",
        )

        model = self._panel.model
        self._run(work, lambda: _concept_tasks.rank(work), model.set_rows)

    def _summary_of(self, parts: list[_scopes.Part]) -> Summary | None:
        """What is known of the cells that count, where the last ranking was of the same."""
        if self._known is None:
            return None
        work, ranked = self._known
        return ranked.summary if _scopes.same_cells(work.parts, parts) else None

    def _list_again(self) -> None:
        """Show the same ranking with what is known by now of where its concepts fire."""
        names, known = self._session.naming.names, self._session.exploration
        if self._known is None or names is None or self._jobs.running(_LANE) is not None:
            return
        former, ranked = self._known
        work = replace(former, where=known.where, annotations=names.annotations())
        model = self._panel.model
        self._run(work, lambda: _concept_tasks.list_again(work, ranked), model.update_rows)

    def _run(
        self,
        work: _concept_tasks.RankingWork,
        job: Callable[[], Generator[Progress, None, _concept_tasks.Ranked]],
        show: Callable[[ConceptRows], None],
    ) -> None:
        """Rank, and show it with what was learnt meanwhile."""

        def ended(end: Ended) -> None:
            self._known = work, end.value
            show(end.value.rows)
            names = self._session.naming.names
            if names is not None and names.annotations() is not work.annotations:
                self._on_names()
            if self._session.exploration.where is not work.where:
                self._list_again()

        self._jobs.run(_LANE, "Ranking", job, on_ended=ended, on_failed=self._desk.fail_job)

    def _list_catalogue(self, said: dict[int, Annotation]) -> None:
        """List the concepts of the first catalogue while no cells are encoded."""
        known = self._session.exploration
        if not known.catalogues:
            return
        catalogue = next(iter(known.catalogues.values()))
        self._jobs.run(
            _LANE,
            "Listing the catalogue",
            lambda: _concept_tasks.rank_catalogue(catalogue, known.classes, said),
            on_ended=lambda end: self._panel.model.set_rows(end.value),
            on_failed=self._desk.fail_job,
        )
