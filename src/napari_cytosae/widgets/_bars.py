"""Tables whose middle column is a bar: probabilities, and what adds up to a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QRectF,
    QSignalBlocker,
    QSize,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtCore import QPersistentModelIndex
    from qtpy.QtGui import QPainter

    Index = QModelIndex | QPersistentModelIndex

FOR, AGAINST, TOTAL = "#2f8fd0", "#e08a2e", "#8a929c"
"""Blue and orange, told apart by colour-blind eyes, and a grey for sums."""

_WIDE, _NARROW = 110, 64
"""Of the bars' column, px; narrow where there are places beside the texts."""

_ROOT = QModelIndex()
_SPAN = Qt.ItemDataRole.UserRole
_COLOUR = Qt.ItemDataRole.UserRole + 1


@dataclass(frozen=True, slots=True)
class Bar:
    """One row.

    Attributes
    ----------
    key : object
        What a click on it is about; None where there is nothing to click.
    text : str
    start, end : float
        Of the bar, 0 to 1 of the column.
    value : str
        At the right.
    colour : str
    tooltip : str
    counted : bool or None
        A tick to leave it out; None: it has none.
    place : str
        Beside the text.
    """

    key: Any
    text: str
    start: float
    end: float
    value: str
    colour: str = FOR
    tooltip: str = ""
    counted: bool | None = None
    place: str = ""


class BarModel(QAbstractTableModel):
    """Rows of `Bar`.

    Signals
    -------
    counted : key, bool
        A tick was set or taken away.
    """

    counted = Signal(object, bool)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bars: tuple[Bar, ...] = ()

    def set_bars(self, bars: Sequence[Bar]) -> None:
        """Show other rows."""
        self.beginResetModel()
        self.bars = tuple(bars)
        self.endResetModel()

    def rowCount(self, parent: Index = _ROOT) -> int:
        """Number of bars."""
        return 0 if parent.isValid() else len(self.bars)

    def columnCount(self, parent: Index = _ROOT) -> int:
        """Text, bar, value, place."""
        return 0 if parent.isValid() else 4

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, tick and bar of a row."""
        if not index.isValid():
            return None
        bar, column = self.bars[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return (bar.text, "", bar.value, bar.place)[column]
        if role == Qt.ItemDataRole.ToolTipRole:
            return bar.tooltip or bar.text
        if role == Qt.ItemDataRole.TextAlignmentRole and column == 2:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if (
            role == Qt.ItemDataRole.CheckStateRole
            and column == 0
            and bar.counted is not None
        ):
            return Qt.CheckState.Checked if bar.counted else Qt.CheckState.Unchecked
        if role == _SPAN and column == 1:
            return (bar.start, bar.end)
        if role == _COLOUR:
            return bar.colour
        return None

    def setData(
        self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole
    ) -> bool:
        """Tell that a tick was clicked; the row changes when it is set anew."""
        if role != Qt.ItemDataRole.CheckStateRole:
            return False
        bar = self.bars[index.row()]
        self.counted.emit(bar.key, Qt.CheckState(value) == Qt.CheckState.Checked)
        return True

    def flags(self, index: Index) -> Qt.ItemFlag:
        """Rows about nothing cannot be selected."""
        if not index.isValid():
            return Qt.ItemFlag.NoItemFlags
        bar = self.bars[index.row()]
        found = Qt.ItemFlag.ItemIsEnabled
        if bar.key is not None:
            found |= Qt.ItemFlag.ItemIsSelectable
        if bar.counted is not None and index.column() == 0:
            found |= Qt.ItemFlag.ItemIsUserCheckable
        return found


class _BarDelegate(QStyledItemDelegate):
    """Paints the middle column."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """The cell as ever, and a bar over it."""
        super().paint(painter, option, index)
        span = index.data(_SPAN)
        if span is None:
            return
        room = QRectF(option.rect).adjusted(2, 3, -2, -3)
        left, right = (room.left() + room.width() * edge for edge in sorted(span))
        bar = QRectF(left, room.top(), max(right - left, 1.0), room.height())
        painter.fillRect(bar, QColor(index.data(_COLOUR)))


class BarTable(QTableView):
    """The view; rows are picked with mouse or arrows.

    Signals
    -------
    picked : key
    counted : key, bool
        As of `BarModel`.
    """

    picked = Signal(object)
    counted = Signal(object, bool)

    def __init__(self, lines: int, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = BarModel(parent=self)
        self.setModel(self._model)
        self._model.counted.connect(self.counted)
        self.setItemDelegate(_BarDelegate(self))
        self.setShowGrid(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        rows.hide()
        height = self.fontMetrics().height() + 4
        rows.setMinimumSectionSize(height)
        rows.setDefaultSectionSize(height)
        columns.hide()
        columns.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        columns.setSectionResizeMode(1, QHeaderView.ResizeMode.Fixed)
        columns.setSectionResizeMode(2, QHeaderView.ResizeMode.ResizeToContents)
        columns.setSectionResizeMode(3, QHeaderView.ResizeMode.ResizeToContents)
        columns.moveSection(3, 1)
        self.setMinimumHeight(lines * height + 4)
        self.set_bars(())
        self.selectionModel().selectionChanged.connect(self._on_selection)

    @property
    def bars(self) -> tuple[Bar, ...]:
        """What is shown."""
        return self._model.bars

    def set_bars(self, bars: Sequence[Bar], picked: Any = None) -> None:
        """Show other rows, one of them picked."""
        self._model.set_bars(bars)
        placed = any(bar.place for bar in bars)
        self.setColumnHidden(3, not placed)
        self.setColumnWidth(1, _NARROW if placed else _WIDE)
        self.set_picked(picked)

    def set_picked(self, key: Any) -> None:
        """Pick the row of `key`, without saying so."""
        chosen = self.selectionModel()
        with QSignalBlocker(chosen):
            chosen.clear()
            for row, bar in enumerate(self.bars):
                if key is not None and bar.key == key:
                    self.selectRow(row)
        self.viewport().update()

    def sizeHint(self) -> QSize:
        """No higher than asked for: what room there is beside goes to the bars."""
        return QSize(super().sizeHint().width(), self.minimumHeight())

    def minimumSizeHint(self) -> QSize:
        """The same."""
        return self.sizeHint()

    def _on_selection(self) -> None:
        rows = [index.row() for index in self.selectionModel().selectedRows()]
        if rows:
            self.picked.emit(self.bars[rows[0]].key)
