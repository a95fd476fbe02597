"""A strip of cells; only those in view are drawn, so thousands cost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import (
    QAbstractListModel,
    QItemSelection,
    QItemSelectionModel,
    QItemSelectionRange,
    QModelIndex,
    QSignalBlocker,
    QSize,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor, QIcon, QImage, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QListView, QWidget

from napari_cytosae.core._drawing import blend_grid
from napari_cytosae.widgets._keys import typed

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

    from qtpy.QtCore import QPersistentModelIndex
    from qtpy.QtGui import QKeyEvent

    from napari_cytosae.core.types import UInt8Array
    from napari_cytosae.session_values import Verdict
    from napari_cytosae.widgets._thumbnails import Thumbnail

    Index = QModelIndex | QPersistentModelIndex

THUMBNAIL_PX = 64
MARKS: dict[str, str] = {
    "": "",
    "accept": "\N{HEAVY CHECK MARK} ",
    "reject": "\N{HEAVY BALLOT X} ",
}
_TILE, _INK = (226, 223, 230), (40, 38, 46)
"""Colours of a tile of words and of a frame: of a slide, whatever the theme."""
_FRAME_PX = 12
"""Of a selected picture, which is drawn at half its size."""

_ROOT = QModelIndex()


class GalleryModel(QAbstractListModel):
    """Cells in the order they are given; pictures are made when first seen."""

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cells: tuple[Thumbnail, ...] = ()
        self._rows: dict[Hashable, int] = {}
        self._icons: dict[int, QIcon] = {}
        self._verdicts: Mapping[Any, Verdict] = {}

    def set_verdicts(self, verdicts: Mapping[Any, Verdict]) -> None:
        """Mark cells that were accepted or rejected."""
        self._verdicts = dict(verdicts)
        if self._cells:
            self.dataChanged.emit(self.index(0), self.index(len(self._cells) - 1))

    def set_cells(self, cells: Sequence[Thumbnail]) -> None:
        """Show other cells, or other pictures of the same, which stay where they are."""
        former, self._icons = self._rows, {}
        rows = {cell.key: row for row, cell in enumerate(cells)}
        if rows and list(rows) == list(former):
            self._cells = tuple(cells)
            self.dataChanged.emit(self.index(0), self.index(len(cells) - 1))
            return
        self.beginResetModel()
        self._cells, self._rows = tuple(cells), rows
        self.endResetModel()

    def cell_at(self, row: int) -> Any:
        """Key of the cell in a row."""
        return self._cells[row].key

    def keys_of(self, rows: Iterable[int]) -> tuple[Any, ...]:
        """Keys of the cells in some rows."""
        return tuple([self._cells[row].key for row in rows])

    def rows_of(self, keys: Iterable[Hashable]) -> list[int]:
        """Rows of those cells that are shown."""
        return [self._rows[key] for key in keys if key in self._rows]

    def rowCount(self, parent: Index = _ROOT) -> int:
        """Number of cells."""
        return 0 if parent.isValid() else len(self._cells)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Picture, caption and tool tip of a cell."""
        if not index.isValid():
            return None
        cell = self._cells[index.row()]
        if role == Qt.ItemDataRole.DecorationRole:
            if index.row() not in self._icons:
                self._icons[index.row()] = thumbnail(cell)
            return self._icons[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return MARKS[self._verdicts.get(cell.key, "")] + cell.caption
        if role == Qt.ItemDataRole.ToolTipRole:
            return cell.tooltip
        return None


class Gallery(QListView):
    """The view, one line that scrolls sideways.

    Signals
    -------
    cells_selected : tuple of keys
        By the analyst.
    cell_activated : key
        Clicked or reached with the keyboard: go there.
    """

    cells_selected = Signal(object)
    cell_activated = Signal(object)

    def __init__(self, *, side: int = THUMBNAIL_PX, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = GalleryModel(parent=self)
        self.setToolTip("Click a cell to go to it on its slide; Left, Right: the next one")
        self.setModel(self._model)
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(False)
        self.setMovement(QListView.Movement.Static)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setUniformItemSizes(True)
        self.setLayoutMode(QListView.LayoutMode.Batched)
        self.setIconSize(QSize(side, side))
        self.setSpacing(2)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        text = self.fontMetrics().height()
        bar = self.horizontalScrollBar().sizeHint().height()
        self.setFixedHeight(side + text + bar + 16)
        self.selectionModel().selectionChanged.connect(self._on_selection)

    def set_cells(self, cells: Sequence[Thumbnail], selected: Collection[Any]) -> None:
        """Show other cells."""
        self._model.set_cells(cells)
        self.set_selected(selected)

    def set_verdicts(self, verdicts: Mapping[Any, Verdict]) -> None:
        """Mark cells that were accepted or rejected."""
        self._model.set_verdicts(verdicts)

    def step(self, cells: int) -> None:
        """Go on to another cell, as Left and Right do, if there is one."""
        after = self._model.index(self.currentIndex().row() + cells)
        if after.isValid():
            self.setCurrentIndex(after)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left and Right are the gallery's own; the others are of the panel around it."""
        if typed(event) in ("", "left", "right"):
            super().keyPressEvent(event)
        else:
            event.ignore()

    def set_selected(self, keys: Collection[Any]) -> None:
        """Select cells, and bring the first into view."""
        rows = self._model.rows_of(keys)
        if set(rows) == set(self._selected_rows()):
            return
        chosen = self.selectionModel()
        selection = QItemSelection()
        for first, last in _runs(sorted(rows)):
            selection.append(
                QItemSelectionRange(self._model.index(first), self._model.index(last))
            )
        with QSignalBlocker(chosen):
            chosen.select(selection, QItemSelectionModel.SelectionFlag.ClearAndSelect)
        if rows:
            with QSignalBlocker(chosen):
                chosen.setCurrentIndex(
                    self._model.index(rows[0]), QItemSelectionModel.SelectionFlag.NoUpdate
                )
            self.scrollTo(self._model.index(rows[0]))
        self.viewport().update()

    def selected(self) -> tuple[Any, ...]:
        """Keys of the selected cells."""
        return self._model.keys_of(self._selected_rows())

    def after(self, key: Hashable) -> Any:
        """The cell after another one; None at the end."""
        rows = self._model.rows_of([key])
        if not rows or rows[0] + 1 >= self._model.rowCount():
            return None
        return self._model.cell_at(rows[0] + 1)

    def _selected_rows(self) -> list[int]:
        """In order; by ranges, as an index a cell takes long for thousands."""
        ranges = self.selectionModel().selection().toList()
        return sorted({row for r in ranges for row in range(r.top(), r.bottom() + 1)})

    def _on_selection(self) -> None:
        rows = self._selected_rows()
        self.cells_selected.emit(self._model.keys_of(rows))
        current = self.currentIndex()
        if current.isValid() and current.row() in rows:
            self.cell_activated.emit(self._model.cell_at(current.row()))


def _runs(rows: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of neighbours in sorted row numbers."""
    if not rows:
        return []
    parts = np.split(np.asarray(rows), np.flatnonzero(np.diff(rows) > 1) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts]


def thumbnail(cell: Thumbnail) -> QIcon:
    """A cell as an icon, with what is drawn over it."""
    crop = cell.crop
    if crop is None:
        return _icon(_tile(cell.words, 2 * THUMBNAIL_PX))
    if cell.draw is not None:
        drawn = cell.draw()
        crop = blend_grid(crop, drawn.grid, drawn.colour, drawn.top)
    return _icon(picture(crop, 2 * THUMBNAIL_PX))


def _icon(pixmap: QPixmap) -> QIcon:
    """A picture that gets a frame when it is selected, where Qt would tint its colours."""
    framed = QPixmap(pixmap)
    painter = QPainter(framed)
    for colour, width in ((_INK, _FRAME_PX), (_TILE, _FRAME_PX // 2)):
        pen = QPen(QColor(*colour), width)
        pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
        painter.setPen(pen)
        inside = width // 2
        painter.drawRect(framed.rect().adjusted(inside, inside, -inside - 1, -inside - 1))
    painter.end()
    icon = QIcon(pixmap)
    icon.addPixmap(framed, QIcon.Mode.Selected)
    return icon


def _tile(words: str, side: int) -> QPixmap:
    """A picture of words, for an image that is not here."""
    tile = QPixmap(side, side)
    tile.fill(QColor(*_TILE))
    painter = QPainter(tile)
    painter.setPen(QColor(*_INK))
    font = painter.font()
    font.setPixelSize(side // 7)
    painter.setFont(font)
    flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWrapAnywhere
    painter.drawText(tile.rect().adjusted(4, 4, -4, -4), flags, words)
    painter.end()
    return tile


def picture(crop: UInt8Array, side: int) -> QPixmap:
    """A crop scaled to fit into a square, its sides in proportion."""
    pixels = np.ascontiguousarray(crop)
    height, width = pixels.shape[:2]
    image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    scaled = image.scaled(
        side,
        side,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    return QPixmap.fromImage(scaled)
