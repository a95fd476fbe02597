"""Connects the table of concepts with the session: stage, ranking, names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.types import CytoError
from napari_cytosae.widgets import _concept_tasks, _scopes
from napari_cytosae.widgets._concept_rows import ConceptRows
from napari_cytosae.widgets._connections import Connections

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from napari_cytosae.core._annotation import Annotation
    from napari_cytosae.core.types import ConceptActivations, Encoded
    from napari_cytosae.patient_session import PatientSession
    from napari_cytosae.session import Session
    from napari_cytosae.session_values import Scope, Selection
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, Jobs
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel

    Rows = npt.NDArray[np.int64]

_LANE, _WHERE = "rank", "where"
_NONE = "There are no cells of this kind in the image."
_ASK: dict[Scope, str] = {
    "patch": "Click a patch of a cell to rank its concepts.",
    "cells": "Click a cell to rank its concepts.",
    "like": "Select cells first (Ctrl+click in the gallery for several).",
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
        self._summary: Any = None
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
            (session.focus.scope_changed, self._on_scope),
            (session.focus.selection_changed, self._on_selection),
            (session.naming.changed, self._on_names),
            (session.hide_flagged_changed, self._rank),
            (session.exploration.facts_changed, self._on_facts),
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
        self._summary = None
        self._jobs.abandon(_LANE)
        self._jobs.abandon(_WHERE)
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
        moved = (selection.cell_ids, selection.patch) != (before.cell_ids, before.patch)
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
        rows = session.rows(_scopes.cells_of(session))
        patch = selection.patch if scope == "patch" else None
        pool = self._pool(scope)
        missing = not len(rows) or (scope == "patch" and patch is None)
        if scope == "patient":
            missing = not any(len(of_image) for _, of_image in pool)
        if missing and scope in _ASK:
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
            rows,
            patch,
            self._summary,
            known.where,
            known.classes,
            None if catalogue is None else catalogue.mean_acts,
            known.stability,
            pool,
            scope == "like",
        )

        def ended(end: Ended) -> None:
            self._summary = end.value.summary or self._summary
            self._panel.model.set_rows(end.value.rows)
            if names.annotations() is not said:
                self._on_names()
            if self._jobs.running(_WHERE) is None:
                top = end.value.rows.concept[: _concept_tasks.LOCATED].tolist()
                located = () if known.where is None else known.where.index
                self._locate([concept for concept in top if concept not in located])

        self._jobs.run(
            _LANE,
            "Ranking",
            lambda: _concept_tasks.rank(work),
            on_ended=ended,
            on_failed=self._desk.fail_job,
        )

    def _pool(self, scope: Scope) -> list[tuple[ConceptActivations, Rows]]:
        """The images whose cells are compared; none: those of the image alone."""
        if scope == "patient":
            return _scopes.pool(self._session, self._patients)
        if scope == "like":
            others = self._panel.below.source == "all"
            return _scopes.examples_among(self._session, others=others)
        return []

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

    def _locate(self, concepts: list[int]) -> None:
        """Work out where these concepts fire, and rank again with that."""
        session = self._session
        models, encoded, cells = session.models, session.encoded, session.cells
        if models is None or encoded is None or cells is None or not concepts:
            return

        def ended(end: Ended) -> None:
            session.exploration.add_where(end.value)
            self._rank()

        self._jobs.run(
            _WHERE,
            "Locating concepts",
            lambda: _concept_tasks.locate(models, encoded, cells, concepts),
            on_ended=ended,
            on_failed=self._desk.fail_job,
        )
