"""What a step shows while it cannot run: the reason, and the button that helps."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget


class EmptyState(QWidget):
    """A sentence and a button.

    Signals
    -------
    clicked
    """

    clicked = Signal()

    def __init__(
        self, text: str, button: str, tip: str, *, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._text = QLabel(text)
        self._text.setWordWrap(True)
        self._text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.button = QPushButton(button)
        self.button.setToolTip(tip)
        self.button.clicked.connect(self.clicked)
        self._layout = QVBoxLayout(self)
        self._layout.addStretch(1)
        self._layout.addWidget(self._text)
        self._layout.addWidget(self.button, 0, Qt.AlignmentFlag.AlignHCenter)
        self._layout.addStretch(2)

    def offer(self, text: str, tip: str) -> QPushButton:
        """Add another way on, below the first."""
        button = QPushButton(text)
        button.setToolTip(tip)
        self._layout.insertWidget(
            self._layout.count() - 1, button, 0, Qt.AlignmentFlag.AlignHCenter
        )
        return button
