"""The menu of what is not needed every minute: passports, catalogues, names, sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QWidget

from napari_cytosae.core.types import EXTRAS

if TYPE_CHECKING:
    from collections.abc import Collection

    from qtpy.QtGui import QAction

Asks = Literal["", "folder", "open", "save"]


@dataclass(frozen=True, slots=True)
class Tool:
    """One entry.

    Attributes
    ----------
    text, meaning : str
        Title and tool tip.
    asks : str
        For which path; empty for none.
    files : str
        Filter of the file dialog.
    """

    text: str
    meaning: str
    asks: Asks = ""
    files: str = ""


TOOLS: dict[str, Tool | None] = {
    "passport": Tool(
        "Passport of this concept ...",
        "Save everything known of the selected concept on one page",
        "save",
        "Web page (*.html);;PDF (*.pdf)",
    ),
    "stability": Tool(
        "Measure stability",
        "Shift, turn and restain these cells a little: which concepts stay?",
    ),
    "catalogue": Tool(
        "Open a catalogue ...",
        "Statistics and class labels of a data set, published or built here",
        "folder",
    ),
    "atlas": Tool(
        "Latent atlas",
        "How often against how strongly each concept fires; draw around some to list them",
    ),
    "groups": Tool(
        "Groups and concepts",
        "Kinds of cells, images, patients or predicted diagnoses against the concepts that "
        "tell them apart",
    ),
    "-1": None,
    "undo": Tool("Undo naming", "Take back the last change of a name, tag, note or star"),
    "import": Tool(
        "Import names ...",
        "Merge a colleague's names; where two differ, yours stand",
        "open",
        "Names (*.json *.csv)",
    ),
    "export": Tool(
        "Export names ...",
        "Save names, tags, notes and ratings for a colleague",
        "save",
        "Names (*.json);;Table (*.csv)",
    ),
    "rate": Tool(
        "Rate concepts blindly ...",
        "Say what concepts show, seeing their cells but neither number nor name",
    ),
    "agreement": Tool(
        "Agreement of raters",
        "How far all who rated concepts agree beyond chance (Cohen's kappa), tag by tag",
    ),
    "-2": None,
    "save": Tool(
        "Save session ...",
        "All images that are open: pixels, cells, activations, names, selection and "
        "overlays, in one empty folder",
        "folder",
    ),
    "open": Tool("Open session ...", "Go on where a saved session ended", "folder"),
}
"""By key; None is a line between groups."""

_EXTRA = (
    "Written with every export while it is ticked; a chosen concept is one that is laid "
    "over the slide"
)
LONG = ("passport", "stability", "catalogue", "save", "open")
"""Those that wait for the job in front."""


class ToolsMenu(QMenu):
    """Says what was chosen, and for which path; never decides.

    Signals
    -------
    chosen : key, path
    extras_changed
    """

    chosen = Signal(str, str)
    extras_changed = Signal()

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setToolTipsVisible(True)
        self._actions: dict[str, QAction] = {}
        for key, tool in TOOLS.items():
            if tool is None:
                self.addSeparator()
                continue
            action = self.addAction(tool.text)
            action.setToolTip(tool.meaning)
            action.triggered.connect(lambda _=False, key=key: self._choose(key))
            self._actions[key] = action
        self.addSeparator()
        self._extras = self._extras_menu()

    def set_busy(self, busy: bool) -> None:
        """Offer no long work while a job is in front."""
        for key in LONG:
            self._actions[key].setEnabled(not busy)

    @property
    def extras(self) -> list[str]:
        """What an export writes besides, of `core.types.EXTRAS`."""
        return [key for key, action in self._extras.items() if action.isChecked()]

    def set_extras(self, extras: Collection[str]) -> None:
        """Tick what an export writes besides."""
        for key, action in self._extras.items():
            action.setChecked(key in extras)

    def _extras_menu(self) -> dict[str, QAction]:
        menu = self.addMenu("Also export")
        assert menu is not None
        menu.setToolTipsVisible(True)
        menu.menuAction().setToolTip(
            "What else is written beside cells.csv and concepts.csv"
        )
        actions = {}
        for key, meaning in EXTRAS.items():
            actions[key] = menu.addAction(meaning)
            actions[key].setCheckable(True)
            actions[key].setToolTip(_EXTRA)
            actions[key].toggled.connect(lambda _: self.extras_changed.emit())
        return actions

    def _choose(self, key: str) -> None:
        tool = TOOLS[key]
        assert tool is not None
        path = ""
        if tool.asks == "folder":
            path = QFileDialog.getExistingDirectory(self, tool.text)
        elif tool.asks == "open":
            path = QFileDialog.getOpenFileName(self, tool.text, "", tool.files)[0]
        elif tool.asks == "save":
            path = QFileDialog.getSaveFileName(self, tool.text, "", tool.files)[0]
        if path or not tool.asks:
            self.chosen.emit(key, path)
