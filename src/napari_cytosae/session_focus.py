"""What the analyst looks at: cells, a patch, a concept, and what concepts are ranked by."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_cytosae.session_values import Scope, Selection

if TYPE_CHECKING:
    from collections.abc import Iterable


class Focus:
    """Evented; canvas, table and gallery all show this one thing."""

    scope_changed = Signal(str)
    selection_changed = Signal(object)

    def __init__(self) -> None:
        self._scope: Scope = "image"
        self._examples: tuple[int, ...] = ()
        self._selection = Selection()

    @property
    def scope(self) -> Scope:
        """What concepts are ranked by, e.g. the image, its red cells, or a patch."""
        return self._scope

    @property
    def examples(self) -> tuple[int, ...]:
        """Cells that others are compared with while the scope is ``like``."""
        return self._examples

    def set_scope(self, scope: Scope) -> None:
        """Rank concepts by something else; for ``like``, by the cells selected now."""
        examples = self._selection.cell_ids if scope == "like" else ()
        if (scope, examples) != (self._scope, self._examples):
            self._scope, self._examples = scope, examples
            self.scope_changed.emit(scope)

    @property
    def selection(self) -> Selection:
        """The cells, the patch and the concept being looked at."""
        return self._selection

    def select_cells(
        self, cell_ids: Iterable[int], patch: tuple[int, int] | None = None
    ) -> None:
        """Look at cells, and at a patch of the first of them."""
        self._select(replace(self._selection, cell_ids=tuple(cell_ids), patch=patch))

    def select_concept(self, concept: int | None) -> None:
        """Look at a concept."""
        self._select(replace(self._selection, concept=concept))

    def forget_cells(self) -> None:
        """Look at none of the former cells; the session announces it."""
        self._selection = Selection(concept=self._selection.concept)
        self._scope, self._examples = "image", ()

    def forget_models(self) -> None:
        """Look at none of the former concepts; the session announces it."""
        self._selection = Selection()

    def announce(self) -> None:
        """Send the events of a change made by one of the above."""
        self.scope_changed.emit(self._scope)
        self.selection_changed.emit(self._selection)

    def _select(self, selection: Selection) -> None:
        if selection != self._selection:
            self._selection = selection
            self.selection_changed.emit(selection)
