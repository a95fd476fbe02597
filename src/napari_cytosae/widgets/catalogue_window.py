"""A catalogue of another SAE than the one loaded: its concepts, and what they show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_cytosae.widgets.concept_model import HEADERS, ConceptTableModel
from napari_cytosae.widgets.concept_table import ConceptTable
from napari_cytosae.widgets.gallery import Gallery

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from napari_cytosae.widgets._concept_rows import ConceptRows
    from napari_cytosae.widgets._thumbnails import Thumbnail

_UNKNOWN = ("show", "specificity", "where")
"""Columns of which a catalogue says nothing."""

_PAUSE_MS = 120
_ABOUT = "Select a concept to see in which images it fires most."


class CatalogueWindow(QWidget):
    """A window of its own, with a selection of its own; never decides.

    Signals
    -------
    concept_selected : int
    atlas_clicked
    """

    concept_selected = Signal(int)
    atlas_clicked = Signal()

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.resize(620, 560)
        self.model = ConceptTableModel(parent=self)
        self.table = ConceptTable(self.model)
        self.table.setToolTip("Concepts of the catalogue, the strongest first")
        for key in _UNKNOWN:
            self.table.setColumnHidden(list(HEADERS).index(key), True)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.concept_selected.connect(self.concept_selected)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search id or class, like basophil")
        self.search.setToolTip("Words of the id or class; a typing error is forgiven")
        self.search.setClearButtonEnabled(True)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(lambda: self.model.set_search(self.search.text()))
        self.search.textChanged.connect(lambda _: self._pause.start())
        self._count = QLabel()
        self._all = QToolButton()
        self._all.setText("all")
        self._all.setToolTip("Bring back the concepts that were not picked in the atlas")
        self._all.clicked.connect(lambda: self.pick(None))
        self._all.hide()
        atlas = QPushButton("Atlas")
        atlas.setToolTip("How often against how strongly each concept fires")
        atlas.clicked.connect(self.atlas_clicked)
        self._about = QLabel(_ABOUT)
        self._about.setWordWrap(True)
        self._about.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.gallery = Gallery()
        self.gallery.setToolTip(
            "The images in which it fires most: their labels where the files are not here"
        )
        self.model.modelReset.connect(self._on_rows)
        top = QHBoxLayout()
        top.addWidget(self.search, 1)
        for widget in (self._count, self._all, atlas):
            top.addWidget(widget)
        column = QVBoxLayout(self)
        column.addLayout(top)
        column.addWidget(self.table, 1)
        column.addWidget(self._about)
        column.addWidget(self.gallery)

    def set_rows(self, title: str, rows: ConceptRows) -> None:
        """Show another catalogue."""
        self.setWindowTitle(title)
        self.pick(None)
        self.show_concept("", ())
        self.model.set_rows(rows)

    def show_concept(self, about: str, images: Sequence[Thumbnail]) -> None:
        """Say what is known of the selected concept."""
        self._about.setText(about or _ABOUT)
        self.gallery.set_cells(images, ())

    def pick(self, concepts: Collection[int] | None) -> None:
        """List only these concepts; None brings all back."""
        self._all.setVisible(concepts is not None)
        self.model.set_picked(concepts)

    @property
    def about(self) -> str:
        """What is said of the selected concept."""
        return self._about.text()

    def _on_rows(self) -> None:
        shown, there = self.model.rowCount(), self.model.count
        self._count.setText(f"{shown:,}" if shown == there else f"{shown:,} of {there:,}")
