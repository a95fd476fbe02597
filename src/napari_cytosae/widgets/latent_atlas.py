"""All concepts of an SAE at once: how often against how strongly they fire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_cytosae.core.types import Float64Array, Int64Array

_SCALE = "viridis"
_UNKNOWN = "#808080"
_LASSO = "#e69f00"


@dataclass(frozen=True, slots=True, eq=False)
class AtlasPoints:
    """What is drawn.

    Attributes
    ----------
    concepts : ndarray of int64, (n,)
    density, strength : ndarray of float64, (n,)
        Share of images or cells in which it fires, and mean activation there; > 0.
    colour : ndarray of float64, (n,)
        Label entropy; NaN where unknown.
    title : str
        Of what the numbers are.
    """

    concepts: Int64Array
    density: Float64Array
    strength: Float64Array
    colour: Float64Array
    title: str


class LatentAtlas(QWidget):
    """A window of its own; a click selects a concept, Shift and drag picks many.

    Signals
    -------
    concept_clicked : int
    concepts_picked : list of int
    """

    concept_clicked = Signal(int)
    concepts_picked = Signal(object)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Latent atlas")
        self.resize(640, 480)
        self._points: AtlasPoints | None = None
        self._title = QLabel()
        self._title.setWordWrap(True)
        self._box = _LassoBox()
        self._box.enclosed.connect(self._on_lasso)
        background, ink = self.palette().window().color(), self.palette().text().color()
        self._plot = pg.PlotWidget(viewBox=self._box, background=background)
        self._plot.setLogMode(True, True)
        for side, text in (
            ("bottom", "share of images in which it fires"),
            ("left", "mean activation"),
        ):
            self._plot.setLabel(side, text, color=ink.name())
            self._plot.getAxis(side).setTextPen(ink)
        self._dots = pg.ScatterPlotItem(size=5, pen=None, hoverable=True)
        self._dots.sigClicked.connect(self._on_click)
        self._plot.addItem(self._dots)
        layout = QVBoxLayout(self)
        layout.addWidget(self._title)
        layout.addWidget(self._plot, 1)

    def set_points(self, points: AtlasPoints) -> None:
        """Show other concepts; yellow is a high, violet a low label entropy."""
        self._points = points
        self._title.setText(
            f"{points.title}: {len(points.concepts):,} concepts. Click one, or hold Shift "
            "and draw around some, to find them in the table. Yellow: mixed labels, "
            "violet: one label, grey: unknown."
        )
        top = np.nanmax(points.colour, initial=0.0) or 1.0
        known = np.isfinite(points.colour)
        brushes = np.full(len(points.concepts), pg.mkBrush(_UNKNOWN), dtype=object)
        scale = pg.colormap.get(_SCALE)
        steps = [pg.mkBrush(scale.map(step / 31, "qcolor")) for step in range(32)]
        step = np.rint(31 * np.clip(points.colour[known] / top, 0, 1)).astype(int)
        brushes[known] = np.array(steps, dtype=object)[step]
        x, y = self._places()
        self._dots.setData(x=x, y=y, brush=list(brushes), data=points.concepts)
        self._plot.autoRange()

    def _places(self) -> tuple[Float64Array, Float64Array]:
        assert self._points is not None
        return np.log10(self._points.density), np.log10(self._points.strength)

    def _on_click(self, _: Any, points: Any, *__: Any) -> None:
        if len(points):
            self.concept_clicked.emit(int(points[0].data()))

    def _on_lasso(self, corners: Any) -> None:
        if self._points is None:
            return
        from skimage.measure import points_in_poly

        inside = points_in_poly(np.stack(self._places(), axis=1), corners)
        self.concepts_picked.emit(self._points.concepts[inside].tolist())


class _LassoBox(pg.ViewBox):  # type: ignore[misc]
    """Moves as usual; with Shift held a drag draws a line around points."""

    enclosed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._corners: list[tuple[float, float]] = []
        self._line = pg.PlotCurveItem(pen=pg.mkPen(_LASSO, width=2))
        self.addItem(self._line, ignoreBounds=True)

    def mouseDragEvent(self, event: Any, axis: Any = None) -> None:
        """Draw, or leave it to pyqtgraph."""
        if not event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            super().mouseDragEvent(event, axis)
            return
        event.accept()
        if event.isStart():
            self._corners = []
        place = self.mapToView(event.pos())
        self._corners.append((place.x(), place.y()))
        self._line.setData(*np.array(self._corners).T)
        if event.isFinish():
            self._line.setData([], [])
            if len(self._corners) > 2:
                self.enclosed.emit(np.array(self._corners))
