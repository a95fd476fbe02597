"""How many encoded cells are kept on disk, and a button that forgets them."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget


class CacheRow(QWidget):
    """Shows what it is told and says what was clicked; never decides.

    Signals
    -------
    clear_clicked
    """

    clear_clicked = Signal()

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = QLabel("...")
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._clear = QPushButton("Clear")
        self._clear.setToolTip("Forget encoded cells; they are encoded anew when needed")
        self._clear.clicked.connect(self.clear_clicked)
        self._clear.setEnabled(False)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._text, 1)
        layout.addWidget(self._clear)

    def set_usage(self, cells: int, size: int, folder: str) -> None:
        """Say how many cells are kept, in how many bytes, and where."""
        text = f"{cells:,} cell{'' if cells == 1 else 's'}, {size / 1e6:,.0f} MB"
        self._text.setText(text if cells else "none")
        self._text.setToolTip(f"Encoded cells are kept in {folder}" if folder else "")
        self._clear.setEnabled(cells > 0)

    def set_off(self) -> None:
        """Say that nothing is kept."""
        self._text.setText("none: CYTOSAE_CACHE_MB is 0")
        self._clear.setEnabled(False)
