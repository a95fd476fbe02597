"""Groups of cells against the concepts that tell them apart, as a heatmap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from qtpy.QtCore import QRectF, QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core.groups import Groups
    from napari_cytosae.core.types import Int64Array

GROUPINGS: dict[str, str] = {
    "kind": "kind of cell",
    "image": "image",
    "patient": "patient",
    "diagnosis": "predicted diagnosis",
}
"""What cells can be grouped by."""

_SCALE = "viridis"
_BY_DIFFERENCE, _BY_NUMBER = "difference", "number"
_NAME_LENGTH = 28


class GroupHeatmap(QWidget):
    """A window of its own: a row a concept, a column a group.

    Signals
    -------
    grouping_chosen : key of GROUPINGS
    concept_clicked : int
    """

    grouping_chosen = Signal(str)
    concept_clicked = Signal(int)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Groups and concepts")
        self.resize(560, 680)
        self._groups: Groups | None = None
        self._titles: dict[int, str] = {}
        self._order: Int64Array = np.empty(0, np.int64)
        self._by = QComboBox()
        self._by.setToolTip("What the cells of all encoded images are grouped by")
        for key, text in GROUPINGS.items():
            self._by.addItem(text, key)
        self._by.activated.connect(
            lambda i: self.grouping_chosen.emit(self._by.itemData(i))
        )
        self._sort = QComboBox()
        self._sort.setToolTip("Which concepts are at the top")
        self._sort.activated.connect(lambda _: self._draw())
        self._about = QLabel()
        self._about.setWordWrap(True)
        self._about.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._under = QLabel()
        self._under.setWordWrap(True)
        # Until it is polished a widget has the system's colours, not napari's.
        self.ensurePolished()
        background, ink = self.palette().window().color(), self.palette().text().color()
        self._plot = pg.PlotWidget(background=background)
        self._plot.getViewBox().invertY(True)
        self._plot.setMouseEnabled(x=False, y=False)
        self._plot.hideButtons()
        self._plot.showAxis("top")
        self._plot.hideAxis("bottom")
        # Name and number of cells: pyqtgraph leaves room for one line.
        self._plot.getAxis("top").setHeight(3 * self.fontMetrics().height())
        for side in ("top", "left"):
            self._plot.getAxis(side).setTextPen(ink)
        self._image = pg.ImageItem(axisOrder="row-major")
        self._image.setColorMap(pg.colormap.get(_SCALE))
        self._plot.addItem(self._image)
        self._plot.scene().sigMouseClicked.connect(self._on_click)
        self._plot.scene().sigMouseMoved.connect(self._on_move)
        top = QHBoxLayout()
        for text, combo in (("Group by", self._by), ("Sort by", self._sort)):
            top.addWidget(QLabel(text))
            top.addWidget(combo, 1)
        layout = QVBoxLayout(self)
        layout.addLayout(top)
        layout.addWidget(self._about)
        layout.addWidget(self._plot, 1)
        layout.addWidget(self._under)

    def set_groups(self, grouping: str, groups: Groups, titles: dict[int, str]) -> None:
        """Show other groups; `titles` are those of their concepts."""
        self._groups, self._titles = groups, titles
        self._by.setCurrentIndex(self._by.findData(grouping))
        self._about.setText(
            "Mean activation, yellow in the strongest group of each concept. "
            "Click a row to see the cells that drive it."
        )
        self._plot.show()
        with QSignalBlocker(self._sort):
            self._sort.clear()
            self._sort.addItem("difference", _BY_DIFFERENCE)
            self._sort.addItem("number of the concept", _BY_NUMBER)
            for index, name in enumerate(groups.names):
                self._sort.addItem(name, index)
        self._draw()

    def set_trouble(self, text: str) -> None:
        """Say why there is nothing to show."""
        self._about.setText(text)
        self._plot.hide()

    def shown(self) -> list[int]:
        """The concepts from the top down."""
        return [] if self._groups is None else self._groups.concepts[self._order].tolist()

    def _draw(self) -> None:
        groups = self._groups
        assert groups is not None
        strongest = np.maximum(groups.means.max(axis=0), np.finfo(float).tiny)
        share = groups.means / strongest
        by = self._sort.currentData()
        if by == _BY_DIFFERENCE:
            self._order = np.arange(len(groups.concepts))
        elif by == _BY_NUMBER:
            self._order = np.argsort(groups.concepts)
        else:
            # What is most of this group's own: how far it is above the next one.
            rest = np.delete(share, by, axis=0).max(axis=0)
            self._order = np.argsort(rest - share[by], kind="stable")
        self._image.setImage(share.T[self._order], levels=(0.0, 1.0))
        n, k = len(groups.names), len(groups.concepts)
        self._image.setRect(QRectF(0, 0, n, k))
        self._plot.setRange(QRectF(0, 0, n, k), padding=0)
        columns = [
            f"{_short(name, 90 // n)}\n{count:,}"
            for name, count in zip(groups.names, groups.counts, strict=True)
        ]
        rows = [_short(self._titles[c], _NAME_LENGTH) for c in self.shown()]
        self._plot.getAxis("top").setTicks([_ticks(columns)])
        self._plot.getAxis("left").setTicks([_ticks(rows)])

    def _at(self, position: Any) -> tuple[int, int] | None:
        """Group and place from the top under a point of the scene."""
        if self._groups is None:
            return None
        view = self._plot.getViewBox()
        place = view.mapSceneToView(position)
        column, row = int(np.floor(place.x())), int(np.floor(place.y()))
        if row not in range(len(self._order)) or column >= len(self._groups.names):
            return None
        return column, row

    def _on_click(self, event: Any) -> None:
        # Names beside the map count too: their column is negative.
        found = self._at(event.scenePos())
        if found is not None:
            self.concept_clicked.emit(self.shown()[found[1]])

    def _on_move(self, position: Any) -> None:
        found = self._at(position)
        if found is None or found[0] < 0 or self._groups is None:
            self._under.setText("")
            return
        column, row = found
        at = int(self._order[row])
        self._under.setText(
            f"{self._titles[int(self._groups.concepts[at])]} in "
            f"{self._groups.names[column]}: {self._groups.means[column, at]:.3g}; groups "
            f"explain {self._groups.explained[at]:.0%} of its variance"
        )


def _short(text: str, length: int) -> str:
    return (
        text
        if len(text) <= length
        else f"{text[: max(length, 6) - 1]}\N{HORIZONTAL ELLIPSIS}"
    )


def _ticks(texts: Sequence[str]) -> list[tuple[float, str]]:
    return [(index + 0.5, text) for index, text in enumerate(texts)]
