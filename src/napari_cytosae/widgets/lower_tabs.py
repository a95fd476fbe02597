"""Below the table: the cells that drive a concept, the patch under the cursor, notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_cytosae.widgets.gallery import Gallery
from napari_cytosae.widgets.notes_editor import NotesEditor
from napari_cytosae.widgets.patch_inspector import PatchInspector

if TYPE_CHECKING:
    from napari_cytosae.session_values import Source

SOURCES: dict[Source, str] = {
    "image": "this image",
    "all": "all images",
    "catalogue": "catalogue",
}


class LowerTabs(QTabWidget):
    """Three views that share one place, so that the table keeps its height.

    Signals
    -------
    draws_changed
        Whether the activation is drawn into the cells.
    source_changed
        Whose cells are shown.
    """

    draws_changed = Signal()
    source_changed = Signal()

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.gallery = Gallery()
        self.gallery.setToolTip(
            f"{self.gallery.toolTip()}; A, R: accept or reject it for "
            "the concept; U: neither any more"
        )
        self.inspector = PatchInspector()
        self.notes = NotesEditor()
        self._caption = QElidingLabel()
        self._caption.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._draw = QCheckBox("Patches")
        self._draw.setToolTip("Draw the concept's activation into the cells")
        self._draw.setChecked(True)
        self._draw.toggled.connect(lambda _: self.draws_changed.emit())
        self._source: Source = "all"
        self._sources = QComboBox()
        self._sources.setToolTip(
            "Cells of this image, of all images that are open and encoded, or of the open "
            "catalogues"
        )
        self._sources.activated.connect(self._on_source)
        self._sources.hide()
        head = QHBoxLayout()
        head.addWidget(self._caption, 1)
        head.addWidget(self._sources)
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
    def source(self) -> Source:
        """Whose cells are wanted, of those there are."""
        shown: Source | None = self._sources.currentData()
        return shown or "image"

    def set_source(self, source: Source) -> None:
        """Show cells of there, as soon as there are any."""
        self._source = source
        index = self._sources.findData(source)
        if index >= 0 and index != self._sources.currentIndex():
            self._sources.setCurrentIndex(index)
            self.source_changed.emit()

    @property
    def wanted(self) -> Source:
        """Whose cells were asked for, whether there are any or not."""
        return self._source

    def set_sources(self, *, images: int, left_out: int, catalogues: bool) -> None:
        """Say what there is besides the image; no choice is shown where there is nothing.

        What was chosen comes back with it.

        Parameters
        ----------
        images : int
            Open images whose cells are encoded.
        left_out : int
            Those whose cells are not.
        catalogues : bool
            Whether any is open.
        """
        wanted: list[tuple[Source, bool]] = [
            ("image", True),
            ("all", images > 1),
            ("catalogue", catalogues),
        ]
        there = [source for source, known in wanted if known]
        if there != [self._sources.itemData(i) for i in range(self._sources.count())]:
            self._sources.clear()
            for source in there:
                self._sources.addItem(SOURCES[source], source)
            again = self._source if self._source in there else "image"
            self._sources.setCurrentIndex(there.index(again))
        if "all" in there:
            text = f"{images} of {images + left_out} images" if left_out else "all images"
            self._sources.setItemText(there.index("all"), text)
        self._sources.setVisible(len(there) > 1)

    def _on_source(self, index: int) -> None:
        self._source = self._sources.itemData(index)
        self.source_changed.emit()

    def set_caption(self, text: str) -> None:
        """Say what the gallery shows."""
        self._caption.setText(text)
        self._caption.setToolTip(text)
