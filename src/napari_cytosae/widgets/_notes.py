"""Labels that wrap and never widen the dock."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy


def note(text: str = "") -> QLabel:
    """A label of as many lines as its text needs at whatever width there is."""
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    # What a wrapped label asks for is a guess at another width, and would push the panel
    # beyond the screen; the layout still gives it the lines it needs.
    label.setMinimumHeight(label.fontMetrics().height())
    return label
