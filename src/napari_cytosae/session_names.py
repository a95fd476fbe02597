"""What the analyst says of the concepts of the loaded SAE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

if TYPE_CHECKING:
    from napari_cytosae.core.concepts import Annotation, ConceptNames


class Naming:
    """Evented; without a loaded SAE nothing has a name, and none can be given."""

    changed = Signal()

    def __init__(self) -> None:
        self._names: ConceptNames | None = None

    @property
    def names(self) -> ConceptNames | None:
        """The analyst's names for the loaded SAE's concepts."""
        return self._names

    def set_names(self, names: ConceptNames | None) -> None:
        """Take the names of another SAE; the session announces it."""
        self._names = names

    def name_of(self, concept: int) -> str:
        """The analyst's or the SAE's own name of a concept, or an empty text."""
        return "" if self._names is None else self._names.get(concept)

    def title_of(self, concept: int) -> str:
        """Number and name of a concept, as on its layer."""
        return f"{concept} {self.name_of(concept)}".rstrip()

    def as_dict(self) -> dict[int, str]:
        """All named concepts."""
        return {} if self._names is None else self._names.as_dict()

    def rename(self, concept: int, name: str) -> None:
        """Give a concept a name; an empty one takes the analyst's name away."""
        if self._names is None or self._names.get(concept) == name:
            return
        self._names.set(concept, name)
        self.changed.emit()

    def annotate(self, concept: int, annotation: Annotation) -> None:
        """Keep what the analyst says of a concept, as one change."""
        if self._names is None or self._names.annotation(concept) == annotation:
            return
        self._names.annotate(concept, annotation)
        self.changed.emit()

    def undo(self) -> list[int]:
        """Take back the last change of names, tags, notes and stars; whose they were."""
        undone = [] if self._names is None else self._names.undo()
        if undone:
            self.changed.emit()
        return sorted({entry["concept"] for entry in undone})
