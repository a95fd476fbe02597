"""Keys of the dock: a view leaves them to the panel around it, wherever the focus is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt

if TYPE_CHECKING:
    from qtpy.QtGui import QKeyEvent

ARROWS: dict[int, str] = {
    Qt.Key.Key_Up: "up",
    Qt.Key.Key_Down: "down",
    Qt.Key.Key_Left: "left",
    Qt.Key.Key_Right: "right",
}
_PLAIN = Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.KeypadModifier


def typed(event: QKeyEvent) -> str:
    """The letter in lower case, or the name of an arrow; empty for what is not ours.

    With Ctrl, Alt or Meta held a key is a shortcut of the window, and an arrow with Shift
    extends a selection.
    """
    held = event.modifiers()
    if held & ~_PLAIN:
        return ""
    arrow = ARROWS.get(event.key(), "")
    if arrow:
        return "" if held & Qt.KeyboardModifier.ShiftModifier else arrow
    text = event.text().lower()
    return text if text.isprintable() else ""
