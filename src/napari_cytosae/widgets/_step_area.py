"""The place of one step's panel, scrolled where the panel does not fit."""

from __future__ import annotations

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFrame, QScrollArea, QWidget


class StepArea(QScrollArea):
    """Scrolls to what the analyst opens; never decides what is shown."""

    def __init__(self, panel: QWidget, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setWidget(panel)
        self._opened: QWidget | None = None
        self._left_at = 0
        self.verticalScrollBar().rangeChanged.connect(self._keep_up)

    def bring_up(self, part: QWidget) -> None:
        """Show a part of the panel, its head at the top where not all of it fits.

        Also while it grows, until the analyst scrolls.
        """
        self._opened, self._left_at = part, self.verticalScrollBar().value()
        # Once it is as high as what is in it.
        QTimer.singleShot(0, self, self._keep_up)

    def _keep_up(self) -> None:
        bar, part = self.verticalScrollBar(), self._opened
        if part is None or bar.value() != self._left_at:
            self._opened = None
            return
        below = part.y() + part.height() - self.viewport().height()
        bar.setValue(min(part.y(), max(bar.value(), below)))
        self._left_at = bar.value()
