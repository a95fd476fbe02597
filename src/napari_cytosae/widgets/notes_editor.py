"""What the analyst says of the selected concept: star, tags, note."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QPlainTextEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_cytosae.core._annotation import Annotation
from napari_cytosae.core.vocabulary import VOCABULARY

if TYPE_CHECKING:
    from qtpy.QtGui import QFocusEvent


class NotesEditor(QWidget):
    """Shows an annotation and says how it was changed; never decides.

    Signals
    -------
    edited : Annotation
    undo_clicked
    """

    edited = Signal(object)
    undo_clicked = Signal()

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._said = Annotation()
        self._star = QToolButton()
        self._star.setText("\N{BLACK STAR}")
        self._star.setCheckable(True)
        self._star.setToolTip("Star this concept (S in the table)")
        self._star.toggled.connect(lambda on: self._edit(star=on))
        self._tags = QLineEdit()
        self._tags.setPlaceholderText("Tags, with ; between them")
        self._tags.setToolTip("Words of the vocabulary or your own; they can be searched")
        self._tags.editingFinished.connect(self._on_tags)
        self._add = QToolButton()
        self._add.setText("+")
        self._add.setToolTip("Add or remove a word of the vocabulary (after ICSH)")
        self._add.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._menu = QMenu(self)
        self._menu.aboutToShow.connect(self._fill_menu)
        self._add.setMenu(self._menu)
        self._undo = QToolButton()
        self._undo.setText("Undo")
        self._undo.setToolTip("Take back the last change of a name, tag, note or star")
        self._undo.clicked.connect(self.undo_clicked)
        self._note = _Note()
        self._note.setToolTip(
            "What you saw; it is kept with the concept when you leave the field"
        )
        self._note.setPlaceholderText("Notes")
        self._note.setTabChangesFocus(True)
        self._note.left.connect(self._on_note)
        line = QHBoxLayout()
        line.setSpacing(2)
        line.addWidget(self._star)
        line.addWidget(self._tags, 1)
        line.addWidget(self._add)
        line.addWidget(self._undo)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(line)
        layout.addWidget(self._note, 1)
        self.set_annotation(None)

    def set_annotation(self, said: Annotation | None) -> None:
        """Show what is said of a concept; None where none is selected."""
        self.setEnabled(said is not None)
        self._said = said or Annotation()
        with QSignalBlocker(self._star):
            self._star.setChecked(self._said.star)
        self._tags.setText("; ".join(self._said.tags))
        if not self._note.hasFocus() or said is None:
            self._note.setPlainText(self._said.note)

    def _fill_menu(self) -> None:
        """The vocabulary, what is said already ticked; built when it is asked for."""
        self._menu.clear()
        for group, terms in VOCABULARY.items():
            words = self._menu.addMenu(group)
            assert words is not None
            for term in terms:
                tag = f"{group}: {term}"
                action = words.addAction(term)
                action.setCheckable(True)
                action.setChecked(tag in self._said.tags)
                action.toggled.connect(lambda on, tag=tag: self._toggle(tag, on))

    def _toggle(self, tag: str, on: bool) -> None:
        tags = tuple(each for each in self._said.tags if each != tag)
        self._edit(tags=(*tags, tag) if on else tags)

    def _on_tags(self) -> None:
        words = (tag.strip() for tag in self._tags.text().split(";"))
        self._edit(tags=tuple(sorted({tag for tag in words if tag})))

    def _on_note(self) -> None:
        self._edit(note=self._note.toPlainText().strip())

    def _edit(self, **changes: object) -> None:
        said = replace(self._said, **changes)  # type: ignore[arg-type]
        if said != self._said:
            self._said = said
            self.edited.emit(said)


class _Note(QPlainTextEdit):
    """Says when it is left, as a line says `editingFinished`."""

    left = Signal()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.left.emit()
