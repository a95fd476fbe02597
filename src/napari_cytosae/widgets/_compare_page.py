"""The patient's barcode beside another one, and where they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_cytosae.widgets._bars import AGAINST, FOR, BarTable
from napari_cytosae.widgets._notes import note

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_cytosae.widgets._bars import Bar

LINES = 2
PLOT_PX = 76


class ComparePage(QWidget):
    """Shows what it is told and says what was clicked; never decides.

    The plot is made when the page is first seen: pyqtgraph takes its time to load.

    Signals
    -------
    other_chosen : object
    concept_picked : int
    """

    other_chosen = Signal(object)
    concept_picked = Signal(object)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._other = QComboBox()
        self._other.setMinimumWidth(80)
        self._other.activated.connect(
            lambda i: self.other_chosen.emit(self._other.itemData(i))
        )
        line = QHBoxLayout()
        line.addWidget(QLabel("With"))
        line.addWidget(self._other, 1)
        self._said = note()
        self.differences = BarTable(LINES)
        self.differences.setToolTip("Click a concept to see its cells")
        self.differences.picked.connect(self.concept_picked)
        self._plot: Any = None
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 2, 0, 0)
        self._layout.setSpacing(2)
        self._layout.addLayout(line)
        self._layout.addWidget(self._said)
        self._layout.addWidget(self.differences, 1)

    def set_others(self, others: Sequence[tuple[str, Any]], current: Any) -> None:
        """Offer what to compare with, given as name and key."""
        with QSignalBlocker(self._other):
            self._other.clear()
            for name, key in others:
                self._other.addItem(name, key)
            self._other.setCurrentIndex(
                next((i for i, (_, key) in enumerate(others) if key == current), -1)
            )

    def set_said(self, text: str) -> None:
        """Say what is compared."""
        self._said.setText(text)

    def set_differences(self, bars: Sequence[Bar], picked: int | None) -> None:
        """Show where they differ most."""
        self.differences.set_bars(bars, picked)

    def set_barcodes(
        self,
        concepts: npt.NDArray[np.int64],
        here: npt.NDArray[np.float64],
        there: npt.NDArray[np.float64],
    ) -> None:
        """Draw both barcodes: the patient upwards, the other one downwards."""
        import pyqtgraph as pg  # type: ignore[import-untyped]

        if self._plot is None:
            self._plot = pg.PlotWidget(background=None)
            self._plot.setFixedHeight(PLOT_PX)
            self._plot.setMenuEnabled(False)
            self._plot.setMouseEnabled(x=True, y=False)
            self._plot.getAxis("left").setWidth(36)
            self._plot.setToolTip("Wheel: zoom; drag: move; double click: all concepts")
            self._plot.scene().sigMouseClicked.connect(self._on_click)
            self._layout.insertWidget(1, self._plot)
        self._plot.clear()
        for values, sign, colour in ((here, 1, FOR), (there, -1, AGAINST)):
            shown = np.flatnonzero(values)
            x = np.repeat(concepts[shown].astype(np.float64), 2)
            y = np.zeros(len(x))
            y[1::2] = sign * values[shown]
            self._plot.addItem(
                pg.PlotCurveItem(x, y, connect="pairs", pen=pg.mkPen(colour, width=1))
            )
        self._plot.autoRange()

    def _on_click(self, event: Any) -> None:
        if event.double():
            self._plot.autoRange()
