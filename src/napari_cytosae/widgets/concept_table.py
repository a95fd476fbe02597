"""The view of the table of concepts, and the keys that work in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QModelIndex, QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QStyle, QTableView, QWidget

from napari_cytosae.widgets.concept_model import NAME, SWATCH_PX

if TYPE_CHECKING:
    from qtpy.QtGui import QKeyEvent

    from napari_cytosae.widgets.concept_model import ConceptTableModel


class ConceptTable(QTableView):
    """The view; keeps the selected concept when rows are sorted, searched or replaced.

    Signals
    -------
    concept_selected : concept
    toggle_pressed, help_pressed
        Space, ``?``.
    slot_pressed : slot
        1 to 4.
    """

    concept_selected = Signal(int)
    toggle_pressed = Signal()
    help_pressed = Signal()
    slot_pressed = Signal(int)

    def __init__(self, model: ConceptTableModel, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._concepts = model
        self._selected: int | None = None
        self.setModel(model)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked
            | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.setWordWrap(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSortingEnabled(True)
        self.sortByColumn(3, Qt.SortOrder.DescendingOrder)
        rows = self.verticalHeader()
        rows.hide()
        rows.setDefaultSectionSize(self.fontMetrics().height() + 8)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(24)
        digit = self.fontMetrics().horizontalAdvance("0")
        box = self.style().pixelMetric(QStyle.PixelMetric.PM_IndicatorWidth)
        narrow = 4 * digit + 8
        place = 6 * digit + 2
        widths = (box + SWATCH_PX + 10, 5 * digit + 8, 0, narrow, narrow, narrow, place)
        for column, width in enumerate(widths):
            if column == NAME:
                header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
            else:
                header.setSectionResizeMode(column, QHeaderView.ResizeMode.Interactive)
                header.resizeSection(column, width)
        model.modelReset.connect(self._restore)
        self.selectionModel().currentRowChanged.connect(self._on_current)

    def set_selected(self, concept: int | None) -> None:
        """Select a concept's row and scroll to it."""
        if concept != self._selected:
            self._selected = concept
            self._restore()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys of the dock; they act only while the table has the focus."""
        key = event.text().lower()
        if key == " ":
            self.toggle_pressed.emit()
        elif key and key in "1234":
            self.slot_pressed.emit(int(key) - 1)
        elif key == "n":
            self.edit_name()
        elif key == "?":
            self.help_pressed.emit()
        else:
            super().keyPressEvent(event)

    def edit_name(self) -> None:
        """Start editing the selected concept's name."""
        index = self.currentIndex()
        if index.isValid():
            self.edit(index.siblingAtColumn(NAME))

    def _restore(self) -> None:
        row = None if self._selected is None else self._concepts.row_of(self._selected)
        with QSignalBlocker(self.selectionModel()):
            if row is None:
                self.clearSelection()
            else:
                self.selectRow(row)
                self.scrollTo(self._concepts.index(row, 0))
        self.viewport().update()

    def _on_current(self, current: QModelIndex, _: QModelIndex) -> None:
        concept = self._concepts.concept_at(current.row())
        if concept is not None and concept != self._selected:
            self._selected = concept
            self.concept_selected.emit(concept)
