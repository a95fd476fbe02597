"""Whether flagged cells are hidden, and for which reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QMenu, QPushButton, QWidget

from napari_cytosae.core.flags import REASONS
from napari_cytosae.widgets._colours import FLAGGED_OUTLINE
from napari_cytosae.widgets._swatch import swatch

if TYPE_CHECKING:
    from collections.abc import Collection

    from qtpy.QtGui import QMouseEvent

_MEANINGS = {
    "border": "The edge of the image cuts them",
    "out of focus": "Their edges are blurred",
    "clump": "They are larger than one cell can be",
    "smudge": "Their nucleus is burst or bare",
    "overstained": "No detail is left in the nucleus",
    "understained": "The nucleus has taken hardly any dye",
}


class HideRow(QWidget):
    """Shows what it is told and says what was clicked.

    Signals
    -------
    hide_toggled : bool
    spared_changed : frozenset of str
        Reasons that hide no cell.
    """

    hide_toggled = Signal(bool)
    spared_changed = Signal(object)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._hide = QCheckBox("Hide flagged cells")
        self._hide.setToolTip(
            "Leave cells that touch the border, are out of focus or otherwise doubtful "
            "out of outlines, ranking and gallery. Exports keep them, with the reason."
        )
        self._hide.setIcon(swatch(FLAGGED_OUTLINE))
        self._hide.toggled.connect(self.hide_toggled)
        self._menu = _StayingMenu(self)
        self._menu.setToolTipsVisible(True)
        self._actions = {reason: self._menu.addAction(reason) for reason in REASONS}
        for reason, action in self._actions.items():
            action.setCheckable(True)
            action.setToolTip(_MEANINGS[reason])
            action.toggled.connect(self._on_reason)
        self._reasons = QPushButton()
        self._reasons.setMenu(self._menu)
        self._reasons.setToolTip("Choose which reasons hide a cell")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._hide)
        row.addWidget(self._reasons)
        row.addStretch(1)
        self.set_spared(())

    def set_hide(self, hide: bool) -> None:
        """Show whether flagged cells are hidden."""
        with QSignalBlocker(self._hide):
            self._hide.setChecked(hide)

    def set_spared(self, spared: Collection[str]) -> None:
        """Show which reasons hide no cell."""
        for reason, action in self._actions.items():
            with QSignalBlocker(action):
                action.setChecked(reason not in spared)
        hiding = [reason for reason in REASONS if reason not in spared]
        few = ", ".join(hiding) if len(hiding) <= 1 else f"{len(hiding)} reasons"
        text = "any reason" if len(hiding) == len(REASONS) else few or "no reason"
        self._reasons.setText(f"for {text}")

    def _on_reason(self) -> None:
        self.spared_changed.emit(
            frozenset(r for r, action in self._actions.items() if not action.isChecked())
        )


class _StayingMenu(QMenu):
    """Stays open while entries are ticked: it is rarely one alone."""

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Tick what the pointer is on."""
        action = self.activeAction()
        if action is None:
            super().mouseReleaseEvent(event)  # type: ignore[unreachable]  # beside them all
        else:
            action.trigger()
