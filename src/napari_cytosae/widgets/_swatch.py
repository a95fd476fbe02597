"""A small square of a colour: an overlay's in the table, an outline's beside its kind."""

from __future__ import annotations

from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap

SWATCH_PX = 12


def swatch(colour: str | None) -> QIcon:
    """A square of a colour; an empty one for None."""
    pixmap = QPixmap(SWATCH_PX, SWATCH_PX)
    pixmap.fill(QColor(colour or "transparent"))
    painter = QPainter(pixmap)
    # Seen on a dark and on a light ground.
    painter.setPen(QPen(QColor("#909090"), 2))
    painter.drawRect(1, 1, SWATCH_PX - 2, SWATCH_PX - 2)
    painter.end()
    return QIcon(pixmap)
