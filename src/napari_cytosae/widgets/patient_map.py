"""How alike patients are: a map of the correlation of each with each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_cytosae.core.resemblance import Resemblance

_SCALE = "viridis"
_NAMED = 30
"""With more patients the axes have no names: the line above the map says them."""
_NAME_LETTERS = 28


class PatientMap(QWidget):
    """A window of its own; moving over it names two patients, a click picks them.

    Signals
    -------
    picked : int, int
        Places in what was given to `resemblance`: of the row and of the column.
    """

    picked = Signal(int, int)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("How alike patients are")
        self.resize(620, 600)
        self._shown: Resemblance | None = None
        self.said = QLabel()
        self.said.setWordWrap(True)
        self.said.setMinimumHeight(2 * self.fontMetrics().height() + 4)
        # A PlotWidget, with menus and controls nobody sees here, takes three times as long.
        self.plot = pg.GraphicsLayoutWidget()
        self.plot.setBackground(None)
        self._names = pg.AxisItem("left")
        self.plot.addItem(self._names, 0, 0)
        self.box = self.plot.addViewBox(0, 1, lockAspect=True, enableMenu=False)
        self.box.invertY(True)
        self._names.linkToView(self.box)
        self._image = pg.ImageItem(axisOrder="row-major")
        self._image.setColorMap(pg.colormap.get(_SCALE))
        self.box.addItem(self._image)
        self.plot.scene().sigMouseMoved.connect(self._on_move)
        self.plot.scene().sigMouseClicked.connect(self._on_click)
        layout = QVBoxLayout(self)
        layout.addWidget(self.said)
        layout.addWidget(self.plot, 1)

    def set_shown(self, shown: Resemblance) -> None:
        """Show other patients."""
        self._shown = shown
        n = len(shown.names)
        low, high = shown.limits
        self._image.setImage(shown.matrix, levels=(low, high))
        ticks = [
            (place + 0.5, f"{name[:_NAME_LETTERS]}{'...' * (len(name) > _NAME_LETTERS)}")
            for place, name in enumerate(shown.names)
        ]
        named = [ticks] if n <= _NAMED else [[]]
        self._names.setTicks(named)
        self.said.setText(
            f"{n} patients and diseases, the alike side by side; correlation from "
            f"{low:.2f} (violet) to {high:.2f} (yellow). Point at two; click to compare "
            "the present patient with one."
        )
        self.box.autoRange()

    def at(self, x: float, y: float) -> tuple[int, int] | None:
        """Row and column at a place of the map; None outside."""
        n = 0 if self._shown is None else len(self._shown.names)
        row, column = int(np.floor(y)), int(np.floor(x))
        return (row, column) if 0 <= row < n and 0 <= column < n else None

    def _below(self, position: Any) -> tuple[int, int] | None:
        place = self.box.mapSceneToView(position)
        return self.at(place.x(), place.y())

    def _on_move(self, position: Any) -> None:
        found = self._below(position)
        if found is not None and self._shown is not None:
            row, column = (self._shown.names[i] for i in found)
            self.said.setText(f"{row} and {column}: {self._shown.matrix[found]:.3f}")

    def _on_click(self, event: Any) -> None:
        found = self._below(event.scenePos())
        if found is not None and self._shown is not None:
            row, column = (int(self._shown.places[i]) for i in found)
            self.picked.emit(row, column)
