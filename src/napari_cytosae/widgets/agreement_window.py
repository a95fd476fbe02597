"""How far raters agree: in all, tag by tag, and on which concepts they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_cytosae.widgets._notes import note

if TYPE_CHECKING:
    import pandas as pd

_ABOUT = (
    "kappa is Cohen's: the agreement beyond chance, 1 for all of it and 0 for none; empty "
    "where both said the same throughout."
)


class AgreementWindow(QWidget):
    """A window of its own.

    Signals
    -------
    concept_clicked : int
        One on which raters differ.
    """

    concept_clicked = Signal(int)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Agreement of raters")
        self.resize(620, 420)
        self.pairs, self.tags, self.differ = (QTableWidget() for _ in range(3))
        tabs = QTabWidget()
        for table, title, meaning in (
            (self.pairs, "Raters", "Of whole ratings: all tags the same"),
            (self.tags, "Tags", "Where each tag applies, by each two who used it"),
            (self.differ, "Differences", "Concepts that raters call differently"),
        ):
            table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
            table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
            table.verticalHeader().hide()
            tabs.setTabToolTip(tabs.addTab(table, title), meaning)
        self.differ.setToolTip("Click a concept to select it in the table of concepts")
        self.differ.cellClicked.connect(self._on_clicked)
        column = QVBoxLayout(self)
        column.addWidget(tabs, 1)
        column.addWidget(note(_ABOUT))

    def set_tables(
        self, pairs: pd.DataFrame, tags: pd.DataFrame, differ: pd.DataFrame
    ) -> None:
        """Show what `core.rating` found."""
        _fill(self.pairs, pairs)
        _fill(self.tags, tags)
        _fill(self.differ, differ.reset_index())

    def _on_clicked(self, row: int, _: int) -> None:
        item = self.differ.item(row, 0)
        if item is not None:
            self.concept_clicked.emit(int(item.data(Qt.ItemDataRole.DisplayRole)))


def _fill(table: QTableWidget, frame: pd.DataFrame) -> None:
    table.setSortingEnabled(False)
    table.setRowCount(len(frame))
    table.setColumnCount(len(frame.columns))
    table.setHorizontalHeaderLabels([str(each).replace("_", " ") for each in frame.columns])
    for row, values in enumerate(frame.itertuples(index=False)):
        for column, value in enumerate(values):
            item = QTableWidgetItem()
            if isinstance(value, str):
                item.setData(Qt.ItemDataRole.DisplayRole, value)
            elif value == value:  # of NaN there is nothing to show
                number = int(value) if int(value) == value else round(float(value), 2)
                item.setData(Qt.ItemDataRole.DisplayRole, number)
            table.setItem(row, column, item)
    table.setSortingEnabled(True)
    header = table.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
