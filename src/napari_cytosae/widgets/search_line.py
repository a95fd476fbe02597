"""The line above a table of concepts: words to search for, and how many it lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QToolButton, QWidget

from napari_cytosae.widgets._concept_rows import KEEP

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari_cytosae.widgets.concept_model import ConceptTableModel

_PAUSE_MS = 120


class SearchLine(QWidget):
    """Lets a model list what is searched for, or what was picked in the atlas.

    Parameters
    ----------
    model : ConceptTableModel
    hint : str
        What can be searched for, shown where nothing is typed.

    Attributes
    ----------
    field : QLineEdit
    count : QLabel

    Signals
    -------
    searched
        The table lists what was typed.
    """

    searched = Signal()

    def __init__(
        self, model: ConceptTableModel, hint: str, *, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._model = model
        self.field = QLineEdit()
        self.field.setPlaceholderText(hint)
        self.field.setClearButtonEnabled(True)
        self.count = QLabel()
        self.all = QToolButton()
        self.all.setText("all")
        self.all.setToolTip("Bring back the concepts that were not picked in the atlas")
        self.all.hide()
        self.all.clicked.connect(lambda: self.pick(None))
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._on_pause)
        self.field.textChanged.connect(lambda _: self._pause.start())
        model.modelReset.connect(self._on_rows)
        model.layoutChanged.connect(self._on_rows)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.field, 1)
        line.addWidget(self.count)
        line.addWidget(self.all)

    def look_for(self, text: str) -> None:
        """Search for words at once, as if they had been typed a while ago."""
        self.field.setText(text)
        self._model.set_search(text)

    def pick(self, concepts: Collection[int] | None) -> None:
        """List only these concepts, until the analyst wants all back."""
        self.all.setVisible(concepts is not None)
        self._model.set_picked(concepts)

    def _on_pause(self) -> None:
        self._model.set_search(self.field.text())
        self.searched.emit()

    def _on_rows(self, *_: object) -> None:
        shown, there = self._model.rowCount(), self._model.count
        text = f"{shown:,}" if shown == there else f"{shown:,} of {there:,}"
        meaning = "How many concepts are listed, of all that fire"
        if not shown:
            meaning = "No concept passes; clear the search, or bring all concepts back"
        elif "background" in KEEP.get(self._model.keep, ("", ()))[1]:
            unknown = self._model.not_located
            text += f", {unknown:,} not located" if unknown else ""
            meaning += (
                "; where those that are not located yet fire is not known, so background "
                "may be among them"
            )
        self.count.setText(text)
        self.count.setToolTip(meaning)
