"""Why a class: what adds up to its score, and what if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_cytosae.widgets._bars import BarTable
from napari_cytosae.widgets._notes import note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.widgets._bars import Bar

LINES = 4


class WhyPage(QWidget):
    """Shows what it is told and says what was clicked; never decides.

    Signals
    -------
    concept_picked : int
    concept_counted : int, bool
        Ticked, or left out.
    leave_out_clicked
        The selected cells.
    reset_clicked
    """

    concept_picked = Signal(object)
    concept_counted = Signal(object, bool)
    leave_out_clicked = Signal()
    reset_clicked = Signal()

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = note()
        self.waterfall = BarTable(LINES)
        self.waterfall.setToolTip(
            "Click a concept to see its cells; untick it to see the score without it, "
            "as if the patient had as much of it as the mean training patient"
        )
        self.waterfall.picked.connect(self.concept_picked)
        self.waterfall.counted.connect(self.concept_counted)
        self._what_if = note()
        self._leave_out = QPushButton("Leave out")
        self._leave_out.setToolTip("See the score without the selected cells")
        self._leave_out.clicked.connect(self.leave_out_clicked)
        self._reset = QPushButton("Count all")
        self._reset.setToolTip("Bring back the cells that were left out of the score")
        self._reset.clicked.connect(self.reset_clicked)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self._leave_out)
        buttons.addWidget(self._reset)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._title)
        layout.addWidget(self.waterfall, 1)
        layout.addWidget(self._what_if)
        layout.addLayout(buttons)
        self.set_what_if("", left_out=False, selected=0)

    def set_bars(self, title: str, bars: Sequence[Bar], picked: int | None) -> None:
        """Show what adds up to a score."""
        self._title.setText(title)
        self.waterfall.set_bars(bars, picked)

    def set_what_if(self, text: str, *, left_out: bool, selected: int) -> None:
        """Say what the score would be; `selected` cells can be left out."""
        self._what_if.setText(text)
        self._what_if.setVisible(bool(text))
        self._leave_out.setText(f"Leave out {selected}" if selected > 1 else "Leave out")
        self._leave_out.setVisible(selected > 0)
        self._reset.setVisible(left_out)
