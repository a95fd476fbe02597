"""Blinded rating: the cells of one concept after the other, without number or name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QStackedLayout,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_cytosae.core.rating import UNCLEAR, tags_of
from napari_cytosae.core.vocabulary import TAGS, VOCABULARY
from napari_cytosae.widgets._notes import note
from napari_cytosae.widgets.gallery import Gallery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.widgets._thumbnails import Thumbnail

CELL_PX = 104
FEW = 20
"""So many concepts are proposed."""

_TICKS = """
QTreeWidget::indicator { width: 10px; height: 10px; border: 1px solid #888 }
QTreeWidget::indicator:checked { background: #0072b2; border-color: #56b4e9 }
"""
"""napari's own style leaves them dark on dark."""


class RatingDialog(QWidget):
    """A window of its own; shows what it is told and says what the rater said.

    Signals
    -------
    started : rater, int
        Who rates, and how many concepts.
    rated : str
        Tags of the concept that is shown, with ``; `` between them; empty to pass it over.
    back_clicked
    """

    started = Signal(str, int)
    rated = Signal(str)
    back_clicked = Signal()

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Blinded rating")
        self.resize(480, 620)
        self._pages = QStackedLayout(self)
        self._pages.addWidget(self._first_page())
        self._pages.addWidget(self._concept_page())

    def _first_page(self) -> QWidget:
        page = QWidget()
        self.rater = QLineEdit()
        self.rater.setPlaceholderText("Your name or initials")
        self.rater.setToolTip("Ratings are kept under this name, and go on where it ended")
        self.count = QSpinBox()
        self.count.setToolTip("The first ones of the table, as it is listed now")
        self.start = QPushButton("Start")
        self.start.setToolTip("Show the cells of the first concept")
        self.start.setEnabled(False)
        self.rater.textChanged.connect(
            lambda text: self.start.setEnabled(bool(text.strip()))
        )
        self.rater.returnPressed.connect(self.start.click)
        self.start.clicked.connect(
            lambda: self.started.emit(self.rater.text().strip(), self.count.value())
        )
        form = QFormLayout()
        form.addRow("Rater", self.rater)
        form.addRow("Concepts", self.count)
        column = QVBoxLayout(page)
        column.addWidget(
            note(
                "You are shown the cells that drive a concept, without its number, its "
                "name or what others say, in an order of your own. Say what they have in "
                "common. When several have rated, Agreement of raters tells how far you "
                "agree; ratings do not change the names."
            )
        )
        column.addLayout(form)
        column.addWidget(self.start)
        column.addStretch(1)
        return page

    def _concept_page(self) -> QWidget:
        page = QWidget()
        self.progress = QLabel()
        self.gallery = Gallery(side=CELL_PX)
        self.gallery.setToolTip("Cells that drive the concept, the strongest first")
        self.words = QTreeWidget()
        self.words.setHeaderHidden(True)
        self.words.setStyleSheet(_TICKS)
        self.words.setToolTip("What the lit patches show (words after ICSH)")
        self._items: dict[str, QTreeWidgetItem] = {}
        self._groups: dict[str, QTreeWidgetItem] = {}
        for group, terms in VOCABULARY.items():
            head = self._groups[group] = QTreeWidgetItem(self.words, [group])
            for term in terms:
                item = QTreeWidgetItem(head, [term])
                item.setCheckState(0, Qt.CheckState.Unchecked)
                self._items[f"{group}: {term}"] = item
        self.own = QLineEdit()
        self.own.setPlaceholderText("In your own words, with ; between them")
        self.own.setToolTip("Where the vocabulary has no word for it")
        self.back = _button("Back", "The concept before", self.back_clicked.emit)
        self.unclear = _button(
            "Not clear", "These cells have nothing in common", lambda: self._rate(UNCLEAR)
        )
        self.next = _button(
            "Next",
            "Keep what is ticked; with nothing ticked the concept is passed over",
            lambda: self._rate(self.label()),
        )
        self.next.setDefault(True)
        self.own.returnPressed.connect(self.next.click)
        buttons = QHBoxLayout()
        buttons.addWidget(self.back)
        buttons.addStretch(1)
        buttons.addWidget(self.unclear)
        buttons.addWidget(self.next)
        column = QVBoxLayout(page)
        column.addWidget(self.progress)
        column.addWidget(self.gallery)
        column.addWidget(self.words, 1)
        column.addWidget(self.own)
        column.addLayout(buttons)
        return page

    def offer(self, available: int) -> None:
        """Begin anew, with so many concepts to choose from."""
        self.count.setRange(1, max(1, available))
        self.count.setValue(min(FEW, available))
        self._pages.setCurrentIndex(0)
        self.rater.setFocus()

    def ask(self, number: int, total: int, label: str) -> None:
        """Ask about a concept; `label` is what the rater said of it before."""
        self._pages.setCurrentIndex(1)
        self.progress.setText(f"Concept {number} of {total}: what have these in common?")
        self.back.setEnabled(number > 1)
        self.gallery.set_cells((), ())
        said = [tag for tag in tags_of(label) if tag != UNCLEAR]
        for tag, item in self._items.items():
            item.setCheckState(
                0, Qt.CheckState.Checked if tag in said else Qt.CheckState.Unchecked
            )
        for group, head in self._groups.items():
            head.setExpanded(any(tag.startswith(f"{group}: ") for tag in said))
        self.own.setText("; ".join(tag for tag in said if tag not in TAGS))

    def show_cells(self, cells: Sequence[Thumbnail]) -> None:
        """Show the cells of the concept that is asked about."""
        self.gallery.set_cells(cells, ())

    def label(self) -> str:
        """What is ticked and written now."""
        ticked = [
            tag
            for tag, item in self._items.items()
            if item.checkState(0) == Qt.CheckState.Checked
        ]
        return "; ".join([*ticked, *tags_of(self.own.text())])

    def _rate(self, label: str) -> None:
        self.rated.emit(label)


def _button(text: str, meaning: str, clicked: object) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(meaning)
    button.clicked.connect(clicked)
    return button
