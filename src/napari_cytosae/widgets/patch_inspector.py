"""The concepts of the patch under the cursor, and one of them on its whole cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_cytosae.core._drawing import blend_grid
from napari_cytosae.widgets.gallery import picture

if TYPE_CHECKING:
    from napari_cytosae.widgets._inspection import Inspection

PICTURE_PX = 108
EMPTY = "Move over a cell to see the concepts under the cursor; Shift+click pins the patch."


class PatchInspector(QWidget):
    """Shows one patch; never decides.

    Signals
    -------
    concept_clicked : int
    """

    concept_clicked = Signal(int)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._picture = QLabel()
        self._picture.setFixedSize(PICTURE_PX, PICTURE_PX)
        self._picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._picture.setToolTip(
            "The cell, and where the selected concept fires, or else the patch's strongest"
        )
        self._drawn = QElidingLabel()
        self._drawn.setFixedWidth(PICTURE_PX)
        self._drawn.setToolTip("The concept that is drawn over the cell")
        self._text = QLabel(EMPTY)
        self._text.setWordWrap(True)
        self._text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._text.setTextFormat(Qt.TextFormat.RichText)
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self._text.setToolTip("Click a concept to select it")
        self._text.linkActivated.connect(lambda link: self.concept_clicked.emit(int(link)))
        left = QVBoxLayout()
        left.setSpacing(2)
        left.addWidget(self._picture)
        left.addWidget(self._drawn)
        left.addStretch(1)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 0)
        layout.addLayout(left)
        layout.addWidget(self._text, 1)

    def show_patch(self, patch: Inspection | None, *, pinned: bool = False) -> None:
        """Show a patch, or how to get there."""
        if patch is None:
            self._picture.clear()
            self._drawn.clear()
            self._text.setText(EMPTY)
            return
        head = f"Cell {patch.cell_id}, patch {patch.row}, {patch.column}"
        lines = [f"<b>{head}{' (pinned)' if pinned else ''}</b>"]
        colour = self.palette().text().color().name()
        lines += [
            f'<a style="color:{colour}" href="{concept}">{title}</a>&nbsp; {value:.2f}'
            for concept, title, value in patch.concepts
        ]
        if not patch.concepts:
            lines.append("No concept fires here.")
        self._text.setText("<br>".join(lines))
        crop, shown = patch.crop, patch.shown
        if shown is not None:
            crop = blend_grid(crop, shown.grid, shown.colour, shown.top)
        self._picture.setPixmap(picture(crop, PICTURE_PX))
        self._drawn.setText("" if shown is None else shown.title)
