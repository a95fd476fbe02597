"""All concepts of an SAE at once: how often against how strongly they fire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from napari_cytosae.widgets._dots import Dots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core.types import Float64Array, Int64Array

_SCALE, _ENDS = "plasma", (0.3, 0.8)
"""From purple to orange: both are seen on a dark ground and on a light one."""
_UNKNOWN = "#808080"
_LASSO = "#e69f00"
_BY_ENTROPY, _BY_FLAG = "entropy", "flag"
STEPS = 16
FLAGS = ("always-on", "high magnitude", "background", "unstable")
_FLAG_COLOURS = (_UNKNOWN, "#e69f00", "#d55e00", "#56b4e9", "#cc79a7")
_FLAG_KEY = (
    "Orange: always-on, red: high magnitude, blue: background, pink: unstable, grey: no "
    "flag."
)


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
    flags : sequence of str, n of them
        Of `core.concepts.flags`; the first one is shown.
    title : str
        Of what the numbers are.
    counted : str
        What the share is of: "images" or "cells".
    """

    concepts: Int64Array
    density: Float64Array
    strength: Float64Array
    colour: Float64Array
    flags: Sequence[str]
    title: str
    counted: str = "images"
    step: Int64Array = field(init=False)
    """Place of the entropy on the scale of colours, from 1; 0 where it is unknown."""
    flagged: Int64Array = field(init=False)
    """Place of the first flag in `FLAGS`, from 1; 0 without one."""

    def __post_init__(self) -> None:
        top = np.nanmax(self.colour, initial=0.0) or 1.0
        known = np.nan_to_num(np.clip(self.colour / top, 0, 1))
        step = np.where(np.isfinite(self.colour), 1 + np.rint((STEPS - 1) * known), 0)
        object.__setattr__(self, "step", step.astype(np.int64))
        first = [text.partition(";")[0] for text in self.flags]
        flagged = [1 + FLAGS.index(flag) if flag in FLAGS else 0 for flag in first]
        object.__setattr__(self, "flagged", np.array(flagged, np.int64))


class LatentAtlas(QWidget):
    """A window of its own; a click selects a concept, Shift and drag picks many.

    Signals
    -------
    concept_clicked : int
    concepts_picked : list of int
    """

    concept_clicked = Signal(int)
    concepts_picked = Signal(object)
    source_chosen = Signal(str)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Latent atlas")
        self.resize(640, 480)
        self._points: AtlasPoints | None = None
        self._entropy = True
        self._title = QLabel()
        self._title.setWordWrap(True)
        self._box = _LassoBox()
        self._box.enclosed.connect(self._on_lasso)
        # Until it is polished a widget has the system's colours, not napari's.
        self.ensurePolished()
        background, ink = self.palette().window().color(), self.palette().text().color()
        self._plot = pg.PlotWidget(viewBox=self._box, background=background)
        self._plot.setLogMode(True, True)
        self._ink = ink.name()
        for side in ("bottom", "left"):
            axis = self._plot.getAxis(side)
            axis.setTextPen(ink)
        self._plot.setLabel("left", "mean activation", color=self._ink)
        scale = pg.colormap.get(_SCALE)
        self._scale = [
            _UNKNOWN,
            *(scale.map(place, "qcolor") for place in np.linspace(*_ENDS, STEPS)),
        ]
        self.dots = Dots()
        self.dots.clicked.connect(self._on_click)
        self._plot.addItem(self.dots)
        self._by = QComboBox()
        self._by.addItem("colour by label entropy", _BY_ENTROPY)
        self._by.addItem("colour by flag", _BY_FLAG)
        self._by.setToolTip("Label entropy is known from a catalogue")
        self._by.activated.connect(lambda _: self._draw())
        self._sources = QComboBox()
        self._sources.setToolTip("In which data set, or in these cells, the concepts fire")
        self._chosen = ""
        self._sources.textActivated.connect(self._choose)
        layout = QVBoxLayout(self)
        layout.addWidget(self._sources)
        layout.addWidget(self._by)
        layout.addWidget(self._title)
        layout.addWidget(self._plot, 1)

    def set_sources(self, sources: Sequence[str]) -> str:
        """Offer these to choose from, where there are several; the one to be shown.

        It is what the analyst chose, as long as it is there, else the first.
        """
        self._sources.clear()
        self._sources.addItems(list(sources))
        if self._chosen in sources:
            self._sources.setCurrentText(self._chosen)
        self._sources.setVisible(len(sources) > 1)
        return self._sources.currentText()

    def _choose(self, source: str) -> None:
        self._chosen = source
        self.source_chosen.emit(source)

    def set_points(self, points: AtlasPoints) -> None:
        """Show other concepts."""
        self._points = points
        entropy = bool(np.isfinite(points.colour).any())
        self._by.setEnabled(entropy)
        if entropy != self._entropy:
            by = _BY_ENTROPY if entropy else _BY_FLAG
            self._by.setCurrentIndex(self._by.findData(by))
        self._entropy = entropy
        self._draw()
        self._plot.autoRange()

    def _draw(self) -> None:
        points = self._points
        if points is None:
            return
        by_flag = self._by.currentData() == _BY_FLAG
        self._title.setText(
            f"{points.title}: {len(points.concepts):,} concepts. Click one, or hold Shift "
            "and draw around some, to find them in the table. "
            + (
                _FLAG_KEY
                if by_flag
                else "Orange: mixed labels, purple: one, grey: unknown."
            )
        )
        shares = f"share of {points.counted} in which it fires"
        self._plot.setLabel("bottom", shares, color=self._ink)
        step = points.flagged if by_flag else points.step
        colours = [pg.mkColor(c) for c in (_FLAG_COLOURS if by_flag else self._scale)]
        rgb = np.array([colour.getRgb()[:3] for colour in colours], np.uint8)
        self.dots.set_dots(self._places(), rgb[np.minimum(step, len(rgb) - 1)])

    def _places(self) -> Float64Array:
        assert self._points is not None
        return np.log10(np.stack([self._points.density, self._points.strength], axis=1))

    def _on_click(self, number: int) -> None:
        if self._points is not None:
            self.concept_clicked.emit(int(self._points.concepts[number]))

    def _on_lasso(self, corners: Any) -> None:
        if self._points is None:
            return
        from skimage.measure import points_in_poly

        inside = points_in_poly(self._places(), corners)
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
