"""Works out where the concepts of the table fire, while nothing else is to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.widgets import _concept_tasks
from napari_cytosae.widgets._connections import Connections
from napari_cytosae.widgets._scopes import shown_rows

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_cytosae.core.whereabouts import Locator
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, Jobs
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel

_LANE = "where"
_FIRST_S, _LONGEST_S = 1.0, 30.0
"""So long it goes on before the table is told, at first and in the end."""


class WhereController:
    """Locates all concepts that the table lists, those in view before the others.

    It is told in rounds, each twice as long as the one before, as every one of them sorts
    the table anew; a look at rows that are not located ends a round early.
    """

    def __init__(
        self, session: Session, desk: Desk, jobs: Jobs, panel: ConceptsPanel
    ) -> None:
        self._session, self._desk, self._jobs, self._panel = session, desk, jobs, panel
        self._locator: Locator | None = None
        self._shown: npt.NDArray[np.int64] | None = None
        self._first: frozenset[int] = frozenset()
        self._seconds = _FIRST_S
        panel.table.view_changed.connect(self._go_on)
        self._connections = Connections(
            (session.encoded_changed, self._on_encoded),
            (session.hide_flagged_changed, self._on_hidden),
        )

    def close(self) -> None:
        """Leave the session."""
        self._connections.close()
        self._jobs.abandon(_LANE)

    def _on_encoded(self, _: Any) -> None:
        self._jobs.abandon(_LANE)
        self._locator, self._shown, self._seconds = None, None, _FIRST_S

    def _on_hidden(self, _: Any) -> None:
        encoded, cells = self._session.encoded, self._session.cells
        if self._shown is None or encoded is None or cells is None:
            return
        if not np.array_equal(shown_rows(self._session, cells, encoded), self._shown):
            self._on_encoded(encoded)
            self._session.exploration.forget_where()

    def _go_on(self) -> None:
        """Locate what is in view and not located yet, then the rest of the table."""
        session, panel = self._session, self._panel
        models, encoded, cells = session.models, session.encoded, session.cells
        if models is None or encoded is None or cells is None or encoded.tokens is None:
            return
        missing = self._missing()
        wanted = set(missing)
        first = [concept for concept in panel.table.in_view() if concept in wanted]
        if self._jobs.running(_LANE) is not None:
            if not self._first.issuperset(first):
                self._seconds = _FIRST_S
                self._jobs.cancel(_LANE)
            return
        if not missing:
            return
        if self._locator is None:
            from napari_cytosae.core.whereabouts import Locator

            self._shown = shown_rows(session, cells, encoded)
            self._locator = Locator(models, [(encoded, cells)], [self._shown])
        locator, seconds = self._locator, self._seconds
        self._first = frozenset(first)
        rest = [concept for concept in missing if concept not in self._first]
        self._seconds = min(2 * seconds, _LONGEST_S)

        def ended(end: Ended) -> None:
            self._first = frozenset()
            if end.partials:
                session.exploration.add_where(end.partials)
            else:
                self._go_on()

        self._jobs.run(
            _LANE,
            "Locating concepts",
            lambda: _concept_tasks.locate(locator, first, rest, seconds),
            on_ended=ended,
            on_failed=self._desk.fail_job,
            idle=True,
        )

    def _missing(self) -> list[int]:
        """Concepts of the table that are not located, also where it does not say so yet."""
        listed, known = self._panel.model.unlocated(), self._session.exploration.where
        if known is not None:
            listed = listed[~np.isin(listed, known.index.to_numpy())]
        found: list[int] = listed.tolist()
        return found
