"""How cells are corrected by hand: what to paint in, and what takes it over."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_cytosae.widgets._fields import wrapped_text


class CorrectionRow(QWidget):
    """Shows what it is told and says what was clicked.

    Signals
    -------
    correct_here_clicked, use_edited_clicked
    """

    correct_here_clicked = Signal()
    use_edited_clicked = Signal()

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._correct = QPushButton("Correct here")
        self._correct.clicked.connect(self.correct_here_clicked)
        self._edited = QPushButton("Use edited cells")
        self._edited.clicked.connect(self.use_edited_clicked)
        self._how = wrapped_text()
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self._correct)
        row.addWidget(self._edited)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self._how)
        self.set_layer("Cells", slide=False)

    def set_layer(self, name: str, *, slide: bool) -> None:
        """Say in which layer to paint; cells of a `slide` are laid there part by part."""
        self._correct.setVisible(slide)
        first = "zoom in, press Correct here, " if slide else ""
        self._how.setText(
            f"To correct cells: {first}paint in the layer '{name}', then Use edited cells."
        )
        self._correct.setToolTip(
            f"Lay the cells in view over the slide as the layer '{name}', in which they "
            "can be painted, erased, merged, split and deleted. Zoom in first."
        )
        self._edited.setToolTip(
            f"Paint, erase, merge, split or delete cells in the layer '{name}', then take "
            "that over: only what changed is measured and encoded again, ids stay."
        )

    def set_busy(self, busy: bool) -> None:
        """Nothing can be clicked while a job is in front."""
        for button in (self._correct, self._edited):
            button.setEnabled(not busy)
