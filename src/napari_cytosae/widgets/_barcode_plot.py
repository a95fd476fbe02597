"""Two barcodes over one axis, as many bars as there are concepts, drawn at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]

from napari_cytosae.widgets._bars import AGAINST, FOR

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_cytosae.core.types import Float64Array, Int64Array

HEIGHT_PX = 76
MOST_BARS = 1000
"""Drawn of a barcode at once, more than a screen has room for; zoomed in, each is."""


class BarcodePlot(pg.PlotWidget):  # type: ignore[misc]
    """The patient upwards, the other one downwards; the wheel zooms, a drag moves.

    Where more concepts are in view than bars can be drawn, the highest of those that fall
    together is.
    """

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent, background=None)
        self.setFixedHeight(HEIGHT_PX)
        self.setMenuEnabled(False)
        self.setMouseEnabled(x=True, y=False)
        self.getAxis("left").setWidth(36)
        self.set_unit("")
        self.scene().sigMouseClicked.connect(self._on_click)
        self._concepts: Int64Array = np.zeros(0, np.int64)
        self._heights: tuple[Float64Array, ...] = ()
        self.curves = tuple(
            pg.PlotCurveItem(connect="pairs", pen=pg.mkPen(colour, width=1))
            for colour in (FOR, AGAINST)
        )
        for curve in self.curves:
            self.addItem(curve)
        self.getViewBox().sigXRangeChanged.connect(self._draw)

    def set_barcodes(
        self, concepts: Int64Array, here: Float64Array, there: Float64Array
    ) -> None:
        """Show other barcodes, whole; the concepts ascend."""
        self._concepts = concepts
        self._heights = (here, -there)
        self._show_all()

    def set_unit(self, unit: str) -> None:
        """Say what the heights are."""
        what = f"Heights: {unit}. " if unit else ""
        self.setToolTip(f"{what}Wheel: zoom; drag: move; double click: all concepts")

    def _show_all(self) -> None:
        if not len(self._concepts):
            return
        here, there = self._heights
        box = self.getViewBox()
        box.setYRange(min(there.min(), 0.0), max(here.max(), 1e-12))
        box.setXRange(self._concepts[0], self._concepts[-1] + 1)
        self._draw()

    def _draw(self, *_: Any) -> None:
        """The bars in view, thinned where they would fall on one another."""
        low, high = self.getViewBox().viewRange()[0]
        first, last = np.searchsorted(self._concepts, (low, high))
        step = max(1, -(-(last - first) // MOST_BARS))
        first -= first % step  # the same bars fall together while the view is moved
        starts = np.arange(first, last, step)
        for curve, heights in zip(self.curves, self._heights, strict=False):
            if not len(starts):
                curve.setData([], [])
                continue
            part = heights[first:last]
            highest = np.maximum.reduceat(np.abs(part), starts - first)
            y = np.zeros(2 * len(starts))
            y[1::2] = np.copysign(highest, part.sum() or 1.0)
            x = np.repeat(self._concepts[starts].astype(np.float64), 2)
            shown = np.repeat(highest > 0, 2)
            curve.setData(x[shown], y[shown])

    def _on_click(self, event: Any) -> None:
        if event.double():
            self._show_all()
