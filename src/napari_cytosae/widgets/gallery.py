"""A strip of cells; only those in view are drawn, so thousands cost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import (
    QAbstractListModel,
    QItemSelectionModel,
    QModelIndex,
    QSignalBlocker,
    QSize,
    Qt,
    Signal,
)
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QListView, QWidget

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from qtpy.QtCore import QPersistentModelIndex

    from napari_cytosae.core.types import UInt8Array
    from napari_cytosae.widgets._thumbnails import Thumbnail

    Index = QModelIndex | QPersistentModelIndex

THUMBNAIL_PX = 64
_ROOT = QModelIndex()


class GalleryModel(QAbstractListModel):
    """Cells in the order they are given; pictures are made when first seen."""

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cells: tuple[Thumbnail, ...] = ()
        self._icons: dict[int, QIcon] = {}

    def set_cells(self, cells: Sequence[Thumbnail]) -> None:
        """Show other cells."""
        self.beginResetModel()
        self._cells = tuple(cells)
        self._icons = {}
        self.endResetModel()

    def cell_at(self, row: int) -> int:
        """Id of the cell in a row."""
        return self._cells[row].cell_id

    def row_of(self, cell_id: int) -> int | None:
        """Row of a cell, or None."""
        for row, cell in enumerate(self._cells):
            if cell.cell_id == cell_id:
                return row
        return None

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
                self._icons[index.row()] = thumbnail(cell.crop)
            return self._icons[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return cell.caption
        if role == Qt.ItemDataRole.ToolTipRole:
            return cell.tooltip
        return None


class Gallery(QListView):
    """The view, one line that scrolls sideways.

    Signals
    -------
    cells_selected : tuple of int
        By the analyst.
    cell_activated : int
        Clicked or reached with the keyboard: go there.
    """

    cells_selected = Signal(object)
    cell_activated = Signal(int)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = GalleryModel(parent=self)
        self.setModel(self._model)
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(False)
        self.setMovement(QListView.Movement.Static)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setUniformItemSizes(True)
        self.setLayoutMode(QListView.LayoutMode.Batched)
        self.setIconSize(QSize(THUMBNAIL_PX, THUMBNAIL_PX))
        self.setSpacing(2)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        text = self.fontMetrics().height()
        bar = self.horizontalScrollBar().sizeHint().height()
        self.setFixedHeight(THUMBNAIL_PX + text + bar + 16)
        self.selectionModel().selectionChanged.connect(self._on_selection)

    def set_cells(self, cells: Sequence[Thumbnail], selected: Collection[int]) -> None:
        """Show other cells."""
        self._model.set_cells(cells)
        self.set_selected(selected)

    def set_selected(self, cell_ids: Collection[int]) -> None:
        """Select cells, and bring the first into view."""
        rows = [row for row in map(self._model.row_of, cell_ids) if row is not None]
        chosen = self.selectionModel()
        with QSignalBlocker(chosen):
            chosen.clearSelection()
            for row in rows:
                chosen.select(
                    self._model.index(row), QItemSelectionModel.SelectionFlag.Select
                )
        if rows:
            with QSignalBlocker(chosen):
                chosen.setCurrentIndex(
                    self._model.index(rows[0]), QItemSelectionModel.SelectionFlag.NoUpdate
                )
            self.scrollTo(self._model.index(rows[0]))
        self.viewport().update()

    def after(self, cell_id: int) -> int | None:
        """The cell after another one; None at the end."""
        row = self._model.row_of(cell_id)
        if row is None or row + 1 >= self._model.rowCount():
            return None
        return self._model.cell_at(row + 1)

    def _on_selection(self) -> None:
        rows = sorted(index.row() for index in self.selectedIndexes())
        cell_ids = tuple(self._model.cell_at(row) for row in rows)
        self.cells_selected.emit(cell_ids)
        current = self.currentIndex()
        if current.isValid() and current.row() in rows:
            self.cell_activated.emit(self._model.cell_at(current.row()))


def thumbnail(crop: UInt8Array) -> QIcon:
    """A crop as an icon, its sides in proportion."""
    pixels = np.ascontiguousarray(crop)
    height, width = pixels.shape[:2]
    image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    scaled = image.scaled(
        2 * THUMBNAIL_PX,
        2 * THUMBNAIL_PX,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    return QIcon(QPixmap.fromImage(scaled))
