"""A button that saves one of several tables: which one, and where, is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the tables.

    Attributes
    ----------
    key : str
    text, meaning : str
        Title and tool tip.
    name, files : str
        Of the file that is proposed, and the filter of the dialog.
    """

    key: str
    text: str
    meaning: str
    name: str
    files: str


class ExportButton(QPushButton):
    """Shows the tables in a menu.

    Signals
    -------
    chosen : key, path
    """

    chosen = Signal(str, str)

    def __init__(self, choices: Sequence[Choice], *, parent: QWidget | None = None) -> None:
        super().__init__("Export", parent)
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for choice in choices:
            action = menu.addAction(choice.text)
            assert action is not None
            action.setToolTip(choice.meaning)
            action.triggered.connect(lambda _=False, one=choice: self._ask(one))
        self.setMenu(menu)

    def _ask(self, choice: Choice) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, choice.text.rstrip(" ."), choice.name, choice.files
        )
        if path:
            self.chosen.emit(choice.key, with_ending(path, choice.name))


def with_ending(path: str, name: str) -> str:
    """Return a path as it was typed; without an ending, with that of the proposed name."""
    return path if Path(path).suffix else path + Path(name).suffix
