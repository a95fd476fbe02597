"""What the analyst looks at: cells, a patch, a concept, and what concepts are ranked by."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_cytosae.session_values import Scope, Selection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_cytosae.session_values import Place


class Focus:
    """Evented; canvas, table and gallery all show this one thing."""

    scope_changed = Signal(str)
    selection_changed = Signal(object)

    def __init__(self) -> None:
        self._image = ""
        self._scope: Scope = "image"
        self._examples: tuple[Place, ...] = ()
        self._selection = Selection()

    @property
    def scope(self) -> Scope:
        """What concepts are ranked by, e.g. the image, its red cells, or a patch."""
        return self._scope

    @property
    def examples(self) -> tuple[Place, ...]:
        """Cells of any image that others are compared with while the scope is ``like``."""
        return self._examples

    def set_scope(self, scope: Scope) -> None:
        """Rank concepts by something else; for ``like``, by the cells selected now."""
        examples = self.picked if scope == "like" else ()
        if (scope, examples) != (self._scope, self._examples):
            self._scope, self._examples = scope, examples
            self.scope_changed.emit(scope)

    @property
    def selection(self) -> Selection:
        """The cells, the patch and the concept being looked at."""
        return self._selection

    @property
    def picked(self) -> tuple[Place, ...]:
        """The selected cells of all images, those of the image in front first."""
        here = [(self._image, cell) for cell in self._selection.cell_ids]
        return (*here, *self._selection.elsewhere)

    def select_cells(
        self,
        cell_ids: Iterable[int],
        patch: tuple[int, int] | None = None,
        elsewhere: Iterable[Place] = (),
    ) -> None:
        """Look at cells, and at a patch of the first; pick cells of other images, too."""
        cells, others = tuple(cell_ids), tuple(elsewhere)
        self._select(
            replace(self._selection, cell_ids=cells, patch=patch, elsewhere=others)
        )

    def select_concept(self, concept: int | None) -> None:
        """Look at a concept."""
        self._select(replace(self._selection, concept=concept))

    def look_at(self, sha256: str, examples: Iterable[Place]) -> None:
        """Look at none of the former cells; the session announces it.

        A search by example goes on with the `examples` whose activations are still there.
        """
        self._image = sha256
        self._selection = Selection(concept=self._selection.concept)
        self._examples = tuple(examples)
        self._scope = "like" if self._examples else "image"

    def keep_examples(self, examples: Iterable[Place]) -> None:
        """Search by these examples alone: what the models made of the others is gone."""
        left = tuple(examples)
        if left != self._examples:
            self._examples = left
            self._scope = "like" if left else "image"
            self.scope_changed.emit(self._scope)

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
