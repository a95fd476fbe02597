"""A catalogue of another SAE than the one loaded: its concepts, and what they show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_cytosae.widgets._concept_columns import HEADERS
from napari_cytosae.widgets.concept_model import ConceptTableModel
from napari_cytosae.widgets.concept_table import ConceptTable
from napari_cytosae.widgets.gallery import Gallery
from napari_cytosae.widgets.search_line import SearchLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.widgets._concept_rows import ConceptRows
    from napari_cytosae.widgets._thumbnails import Thumbnail

_UNKNOWN = ("show", "specificity", "where")
"""Columns of which a catalogue says nothing."""

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
        self.search = SearchLine(self.model, "Search id, name or class, like basophil")
        self.search.field.setToolTip(
            "Words of the id, name, tags or class; a typing error is forgiven"
        )
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
        top = QHBoxLayout()
        top.addWidget(self.search, 1)
        top.addWidget(atlas)
        column = QVBoxLayout(self)
        column.addLayout(top)
        column.addWidget(self.table, 1)
        column.addWidget(self._about)
        column.addWidget(self.gallery)

    def set_rows(self, title: str, rows: ConceptRows) -> None:
        """Show another catalogue."""
        self.setWindowTitle(title)
        self.search.pick(None)
        self.show_concept("", ())
        self.model.set_rows(rows)

    def show_concept(self, about: str, images: Sequence[Thumbnail]) -> None:
        """Say what is known of the selected concept."""
        self._about.setText(about or _ABOUT)
        self.gallery.set_cells(images, ())

    @property
    def about(self) -> str:
        """What is said of the selected concept."""
        return self._about.text()
