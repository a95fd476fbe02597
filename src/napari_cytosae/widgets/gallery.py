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
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QListView, QWidget

from napari_cytosae.core._drawing import blend_grid

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from qtpy.QtCore import QPersistentModelIndex
    from qtpy.QtGui import QKeyEvent

    from napari_cytosae.core.types import UInt8Array
    from napari_cytosae.session_values import Verdict
    from napari_cytosae.widgets._thumbnails import Thumbnail

    Index = QModelIndex | QPersistentModelIndex

THUMBNAIL_PX = 64
VERDICTS: dict[str, Verdict] = {"a": "accept", "r": "reject"}
MARKS: dict[str, str] = {
    "": "",
    "accept": "\N{HEAVY CHECK MARK} ",
    "reject": "\N{HEAVY BALLOT X} ",
}
_ROOT = QModelIndex()


class GalleryModel(QAbstractListModel):
    """Cells in the order they are given; pictures are made when first seen."""

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cells: tuple[Thumbnail, ...] = ()
        self._rows: dict[int, int] = {}
        self._icons: dict[int, QIcon] = {}
        self._verdicts: Mapping[int, Verdict] = {}

    def set_verdicts(self, verdicts: Mapping[int, Verdict]) -> None:
        """Mark cells that were accepted or rejected."""
        self._verdicts = dict(verdicts)
        if self._cells:
            self.dataChanged.emit(self.index(0), self.index(len(self._cells) - 1))

    def set_cells(self, cells: Sequence[Thumbnail]) -> None:
        """Show other cells."""
        self.beginResetModel()
        self._cells = tuple(cells)
        self._rows = {cell.cell_id: row for row, cell in enumerate(self._cells)}
        self._icons = {}
        self.endResetModel()

    def cell_at(self, row: int) -> int:
        """Id of the cell in a row."""
        return self._cells[row].cell_id

    def row_of(self, cell_id: int) -> int | None:
        """Row of a cell, or None."""
        return self._rows.get(cell_id)

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
            return MARKS[self._verdicts.get(cell.cell_id, "")] + cell.caption
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
    judged : Verdict
        A or R was pressed.
    """

    cells_selected = Signal(object)
    cell_activated = Signal(int)
    judged = Signal(str)

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

    def set_verdicts(self, verdicts: Mapping[int, Verdict]) -> None:
        """Mark cells that were accepted or rejected."""
        self._model.set_verdicts(verdicts)

    def next_cell(self) -> None:
        """Go to the cell after the current one, if there is one."""
        after = self._model.index(self.currentIndex().row() + 1)
        if after.isValid():
            self.setCurrentIndex(after)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys of the review list; they act only while the gallery has the focus."""
        verdict = VERDICTS.get(event.text().lower())
        if verdict:
            self.judged.emit(verdict)
        else:
            super().keyPressEvent(event)

    def set_selected(self, cell_ids: Collection[int]) -> None:
        """Select cells, and bring the first into view."""
        rows = [row for row in map(self._model.row_of, cell_ids) if row is not None]
        chosen = self.selectionModel()
        selection = QItemSelection()
        for row in rows:
            index = self._model.index(row)
            selection.append(QItemSelectionRange(index, index))
        with QSignalBlocker(chosen):
            chosen.select(selection, QItemSelectionModel.SelectionFlag.ClearAndSelect)
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


def thumbnail(cell: Thumbnail) -> QIcon:
    """A cell as an icon, with what is drawn over it."""
    crop = cell.crop
    if cell.drawn is not None:
        drawn = cell.drawn
        crop = blend_grid(crop, drawn.grid, drawn.colour, drawn.top)
    return QIcon(picture(crop, 2 * THUMBNAIL_PX))


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
