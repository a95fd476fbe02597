"""Tens of thousands of coloured dots in a plot, drawn as one picture.

pyqtgraph's own scatter plot takes most of a second of Python for 49,152 points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from qtpy.QtCore import QPointF, QRectF, Signal
from qtpy.QtGui import QImage, QPainter

if TYPE_CHECKING:
    from napari_cytosae.core.types import Float64Array, UInt8Array

RADIUS_PX = 2.5
REACH_PX = 6.0
"""So far from a dot a click still means it."""

_STEPS = np.arange(-2, 3)
_STAMP = np.array([(y, x) for y in _STEPS for x in _STEPS if y * y + x * x <= RADIUS_PX**2])
"""Rows and columns of a dot's pixels, from its middle."""
_FRAME = 4


class Dots(pg.GraphicsObject):  # type: ignore[misc]
    """One item for all dots; later ones lie over earlier ones.

    Signals
    -------
    clicked : int
        Number of the dot.
    """

    clicked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._places: Float64Array = np.empty((0, 2))
        self._colours: UInt8Array = np.empty((0, 3), np.uint8)
        self._argb = np.empty(0, np.uint32)
        self._bounds = QRectF()

    def set_dots(self, places: Float64Array, colours: UInt8Array) -> None:
        """Show other dots.

        Parameters
        ----------
        places : ndarray of float64, (n, 2)
            x and y, in the plot's coordinates.
        colours : ndarray of uint8, (n, 3)
            RGB.
        """
        self.prepareGeometryChange()
        self._places, self._colours = places, colours
        red, green, blue = colours.astype(np.uint32).T
        self._argb = 0xFF000000 | red << 16 | green << 8 | blue
        self._bounds = QRectF()
        if len(places):
            low, high = places.min(axis=0), places.max(axis=0)
            self._bounds = QRectF(QPointF(*low), QPointF(*high))
        self.informViewBoundsChanged()
        self.update()

    @property
    def colours(self) -> UInt8Array:
        """Of the dots that are shown."""
        return self._colours

    def boundingRect(self) -> QRectF:
        """Around all middles."""
        return self._bounds

    def paint(self, painter: QPainter, *_: Any) -> None:
        """Stamp all dots that are in view into a picture of the view."""
        if not len(self._places):
            return
        # Asking the item instead of the painter ends the process, with PySide6.
        matrix = painter.transform()
        view = matrix.mapRect(self.viewRect()).toAlignedRect()
        width, height = view.width(), view.height()
        corner = np.array([matrix.dx() - view.x(), matrix.dy() - view.y()])
        scale = np.array([matrix.m11(), matrix.m22()])
        middle = np.rint(self._places * scale + corner).astype(np.int64)
        inside = ((middle >= -2) & (middle < (width + 2, height + 2))).all(axis=1)
        middle, colours = middle[inside], self._argb[inside]
        # Some pixels more on each side, so that no dot has to be cut.
        pixels = np.zeros((height + 2 * _FRAME, width + 2 * _FRAME), np.uint32)
        flat, row = pixels.reshape(-1), pixels.shape[1]
        place = (middle[:, 1] + _FRAME) * row + middle[:, 0] + _FRAME
        for down, right in _STAMP:
            flat[place + (down * row + right)] = colours
        shown = np.ascontiguousarray(pixels[_FRAME:-_FRAME, _FRAME:-_FRAME])
        image = QImage(shown.data, width, height, 4 * width, QImage.Format.Format_ARGB32)
        painter.save()
        painter.resetTransform()
        painter.drawImage(view.topLeft(), image)
        painter.restore()

    def mouseClickEvent(self, event: Any) -> None:
        """Say which dot was clicked; elsewhere the plot has the click."""
        nearest = self.nearest(event.pos())
        if nearest is None:
            event.ignore()
            return
        event.accept()
        self.clicked.emit(nearest)

    def nearest(self, place: QPointF) -> int | None:
        """Number of the dot at a place of the plot; None where there is none."""
        if not len(self._places):
            return None
        pixel = self.getViewBox().viewPixelSize()
        distance = np.hypot(*((self._places - (place.x(), place.y())) / pixel).T)
        number = int(distance.argmin())
        return number if distance[number] <= REACH_PX else None
