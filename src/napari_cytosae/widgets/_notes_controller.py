"""Connects the notes of the selected concept with the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_cytosae.core.types import CytoError
from napari_cytosae.widgets._connections import Connections

if TYPE_CHECKING:
    from napari_cytosae.core.concepts import Annotation
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel


class NotesController:
    """Keeps star, tags and note in step."""

    def __init__(self, session: Session, desk: Desk, panel: ConceptsPanel) -> None:
        self._session, self._desk, self._notes = session, desk, panel.below.notes
        self._concept: int | None = None
        self._notes.edited.connect(self._edit)
        self._notes.undo_clicked.connect(self.undo)
        self._connections = Connections(
            (session.focus.selection_changed, self._show),
            (session.naming.changed, self._show),
        )

    def close(self) -> None:
        """Leave the session."""
        self._connections.close()

    def undo(self) -> None:
        """Take back the last change of a name, tag, note or star."""
        try:
            undone = self._session.naming.undo()
        except CytoError as error:
            self._desk.fail(str(error))
            return
        listed = ", ".join(map(str, undone[:5])) + (" ..." if len(undone) > 5 else "")
        self._desk.say(f"Taken back for {listed}." if undone else "Nothing to take back.")

    def _show(self, _: Any = None) -> None:
        names, concept = self._session.naming.names, self._session.focus.selection.concept
        self._concept = concept
        said = None if names is None or concept is None else names.annotation(concept)
        self._notes.set_annotation(said)

    def _edit(self, said: Annotation) -> None:
        # The note is announced when the focus leaves it, to another concept perhaps.
        if self._concept is None:
            return
        try:
            self._session.naming.annotate(self._concept, said)
        except CytoError as error:
            self._desk.fail(str(error))
