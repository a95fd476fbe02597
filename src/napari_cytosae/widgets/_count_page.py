"""The differential: types and their keys, shares with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_cytosae.widgets._bars import BarTable
from napari_cytosae.widgets._export_button import with_ending
from napari_cytosae.widgets._notes import note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.widgets._bars import Bar

LINES = 3
TYPES = "neutrophil, band, lymphocyte, monocyte, eosinophil, basophil, blast, other"
"""To start from; the analyst may write others."""

_NAME = "differential.csv"


class CountPage(QWidget):
    """Shows what it is told and says what was clicked; never decides.

    Signals
    -------
    types_edited
    type_picked : str
        For the selected cells.
    propose_clicked
    export_clicked : path of the table
    """

    types_edited = Signal()
    type_picked = Signal(object)
    propose_clicked = Signal()
    export_clicked = Signal(str)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._types = QLineEdit(TYPES)
        self._types.setCursorPosition(0)
        self._types.setToolTip("Types, separated by commas; the first nine have a key")
        self._types.editingFinished.connect(self.types_edited)
        self.table = BarTable(LINES)
        self.table.setToolTip(
            "Select cells below, then click their type here or press its number"
        )
        self.table.clicked.connect(
            lambda index: self.type_picked.emit(self.table.bars[index.row()].key)
        )
        self._said = note()
        self._propose = QPushButton("Propose the rest")
        self._propose.setToolTip(
            "Give untyped cells the type of those you typed that look most alike"
        )
        self._propose.clicked.connect(self.propose_clicked)
        self._export = QPushButton("Export ...")
        self._export.setToolTip("Save the differential, and the type of each cell")
        self._export.clicked.connect(self._on_export)
        buttons = QHBoxLayout()
        buttons.addWidget(self._propose, 1)
        buttons.addWidget(self._export)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._types)
        layout.addWidget(self.table, 1)
        layout.addWidget(self._said)
        layout.addLayout(buttons)

    def types(self) -> list[str]:
        """The types the analyst counts."""
        named = (part.strip() for part in self._types.text().split(","))
        return list(dict.fromkeys(name for name in named if name))

    def set_count(self, bars: Sequence[Bar], text: str, *, ready: bool) -> None:
        """Show the count as it stands; `ready` once there is something to export."""
        self.table.set_bars(bars)
        self._said.setText(text)
        self._export.setEnabled(ready)

    def _on_export(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the differential", _NAME, "Tables (*.csv)"
        )
        if path:
            self.export_clicked.emit(with_ending(path, _NAME))
