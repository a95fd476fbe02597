"""Below the table: the cells that drive a concept, the patch under the cursor, notes."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_cytosae.widgets.gallery import Gallery
from napari_cytosae.widgets.notes_editor import NotesEditor
from napari_cytosae.widgets.patch_inspector import PatchInspector


class LowerTabs(QTabWidget):
    """Three views that share one place, so that the table keeps its height.

    Signals
    -------
    draws_changed
        Whether the activation is drawn into the cells.
    shows_others_changed
        Whether cells of other images are shown too.
    """

    draws_changed = Signal()
    shows_others_changed = Signal()

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.gallery = Gallery()
        self.inspector = PatchInspector()
        self.notes = NotesEditor()
        self._caption = QLabel()
        self._caption.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._draw = QCheckBox("Patches")
        self._draw.setToolTip("Draw the concept's activation into the cells")
        self._draw.setChecked(True)
        self._draw.toggled.connect(lambda _: self.draws_changed.emit())
        self._others = QCheckBox("All images")
        self._others.setToolTip("Show cells of the other encoded images too")
        self._others.setChecked(True)
        self._others.toggled.connect(lambda _: self.shows_others_changed.emit())
        self._others.hide()
        head = QHBoxLayout()
        head.addWidget(self._caption, 1)
        head.addWidget(self._others)
        head.addWidget(self._draw)
        cells = QWidget()
        column = QVBoxLayout(cells)
        column.setContentsMargins(0, 2, 0, 0)
        column.setSpacing(2)
        column.addLayout(head)
        column.addWidget(self.gallery)
        self.setDocumentMode(True)
        for widget, title, meaning in (
            (
                cells,
                "Cells",
                "The cells that drive the selected concept; A accepts, R rejects",
            ),
            (self.inspector, "Patch", "The concepts of the patch under the cursor"),
            (self.notes, "Notes", "Star, tags and notes of the selected concept"),
        ):
            self.setTabToolTip(self.addTab(widget, title), meaning)
        # As high as the gallery needs, whatever else there is.
        head_height = self._draw.sizeHint().height() + 2 * column.spacing()
        bar = self.tabBar().sizeHint().height()
        self.setFixedHeight(self.gallery.height() + head_height + bar + 6)

    @property
    def draws(self) -> bool:
        """Whether the activation is drawn into the cells."""
        return self._draw.isChecked()

    def set_draws(self, draws: bool) -> None:
        """Draw the activation into the cells, or leave them plain."""
        self._draw.setChecked(draws)

    @property
    def shows_others(self) -> bool:
        """Whether cells of other images are wanted."""
        return self._others.isChecked()

    def set_others(self, count: int) -> None:
        """Say how many other images are encoded; there is no choice without any."""
        self._others.setVisible(count > 0)

    def set_caption(self, text: str) -> None:
        """Say what the gallery shows."""
        self._caption.setText(text)
        self._caption.setToolTip(text)
