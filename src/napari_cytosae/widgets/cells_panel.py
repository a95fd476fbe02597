"""Step 2: which image, what it shows, how large a pixel is, and its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QRadioButton,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from napari_cytosae.session_values import CellSettings
from napari_cytosae.widgets._colours import OUTLINES, PREVIEW_OUTLINE
from napari_cytosae.widgets._fields import (
    choice_of_layer,
    fill,
    micrometres,
    set_warning,
    wrapped_text,
)
from napari_cytosae.widgets._sentences import (
    describe_pixel_size,
    encode_label,
    is_plausible,
    segment_label,
)
from napari_cytosae.widgets._swatch import swatch
from napari_cytosae.widgets.correction_row import CorrectionRow
from napari_cytosae.widgets.empty_state import EmptyState
from napari_cytosae.widgets.hide_row import HideRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core.types import PixelSize
    from napari_cytosae.session_values import Shows

KINDS = {"wbc": "WBC", "rbc": "RBC", "platelet": "Platelets"}
_WAYS: dict[Shows, tuple[str, str]] = {
    "smear": ("a smear", "Many cells, which are looked for"),
    "single_cell": ("one cell", "A picture cut around one cell, which is taken as a whole"),
    "labels": ("cells marked in", "The cells are those of a Labels layer, ids too"),
}
"""Title and tool tip."""
_IMAGE, _LABELS = "The layer that is analysed", "The Labels layer that marks the cells"


class CellsPanel(QWidget):
    """Shows what it is told and says what was clicked; never decides.

    Signals
    -------
    image_chosen : index in the list given to `set_images`
    labels_chosen : index in the list given to `set_labels`
    settings_changed : CellSettings
    pixel_size_edited : float, um
    segment_clicked, encode_clicked, sample_clicked
    preview_toggled : bool
    """

    image_chosen = Signal(int)
    labels_chosen = Signal(int)
    settings_changed = Signal(object)
    pixel_size_edited = Signal(float)
    segment_clicked = Signal()
    encode_clicked = Signal()
    sample_clicked = Signal()
    preview_toggled = Signal(bool)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._image = choice_of_layer(_IMAGE)
        self._image.currentIndexChanged.connect(self.image_chosen)
        self._missed = wrapped_text()
        self._labels = choice_of_layer(_LABELS)
        self._labels.currentIndexChanged.connect(self.labels_chosen)
        self._ways: dict[Shows, QRadioButton] = {
            way: QRadioButton(text) for way, (text, _) in _WAYS.items()
        }
        self._group = QButtonGroup(self)
        for way, button in self._ways.items():
            button.setToolTip(_WAYS[way][1])
            self._group.addButton(button)
            button.toggled.connect(self._on_settings)
        self._kinds = {kind: QCheckBox(text) for kind, text in KINDS.items()}
        for kind, box in self._kinds.items():
            box.toggled.connect(self._on_settings)
            box.setIcon(swatch(OUTLINES[kind]))
            box.setToolTip("Look for them; the square is the colour of their outlines")
        self._pixel = micrometres(0.0, 20.0, 4)
        self._pixel.setSpecialValueText("unknown")
        self._pixel.setToolTip(
            "Size of one pixel on the slide. All cells are shown to the model at the same "
            "physical size, so this matters. Type your own if you know better."
        )
        self._pixel.valueChanged.connect(self.pixel_size_edited)
        self._pixel_source = wrapped_text()
        self._field = micrometres(5.0, 100.0, 1)
        self._field.setToolTip(
            "Side of the square around each cell that the model sees; 25 um is what the "
            "models were made for."
        )
        self._field.valueChanged.connect(self._on_settings)
        self._segment = QPushButton("Segment")
        self._segment.clicked.connect(self.segment_clicked)
        self._segment.setToolTip("Find the cells and outline them in the layer 'Cells'")
        self._preview = QPushButton("Preview here")
        self._preview.setCheckable(True)
        self._preview.setIcon(swatch(PREVIEW_OUTLINE))
        self._preview.setToolTip(
            "Outline the cells of what the canvas shows, again whenever it or the settings "
            "change; nothing is kept. Zoom in where it matters, then segment."
        )
        self._preview.toggled.connect(self.preview_toggled)
        self._preview_text = wrapped_text()
        self.correction = CorrectionRow()
        self._encode = QPushButton("Encode")
        self._encode.setToolTip("Have the models look at every cell that was found")
        self._encode.clicked.connect(self.encode_clicked)
        self._count = wrapped_text()
        self.hiding = HideRow()
        self._lay_out()
        self.set_preview(False, "")
        self.set_settings(CellSettings())

    def _lay_out(self) -> None:
        ways = QGridLayout()
        ways.addWidget(self._ways["smear"], 0, 0)
        ways.addWidget(self._ways["single_cell"], 0, 1)
        ways.addWidget(self._ways["labels"], 1, 0)
        ways.addWidget(self._labels, 1, 1)
        ways.setColumnStretch(1, 1)
        kinds = QHBoxLayout()
        for box in self._kinds.values():
            kinds.addWidget(box)
        kinds.addStretch(1)
        pixel = QVBoxLayout()
        pixel.addWidget(self._pixel)
        pixel.addWidget(self._pixel_source)
        form = QFormLayout()
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        image = QVBoxLayout()
        image.addWidget(self._image)
        image.addWidget(self._missed)
        form.addRow("Image", image)
        form.addRow("It shows", ways)
        form.addRow("Pixel", pixel)
        form.addRow("Find", kinds)
        form.addRow("Crop", self._field)
        buttons = QHBoxLayout()
        buttons.addWidget(self._preview, 1)
        buttons.addWidget(self._segment, 1)
        buttons.addWidget(self._encode, 1)
        content = QWidget()
        column = QVBoxLayout(content)
        column.addLayout(form)
        column.addLayout(buttons)
        column.addWidget(self._preview_text)
        column.addWidget(self._count)
        column.addWidget(self.hiding)
        column.addWidget(self.correction)
        column.addStretch(1)
        self._empty = EmptyState(
            "Drag a smear into napari, or",
            "Open the built-in sample",
            "A drawn smear, to try every step on",
        )
        self._empty.clicked.connect(self.sample_clicked)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._empty)
        self._stack.addWidget(content)

    # --- setters ----------------------------------------------------------------------

    def set_images(self, names: Sequence[str], current: int, missed: str = "") -> None:
        """List the image layers; `current` is -1 where none is chosen.

        `missed` is the name of one that was opened while another was at work.
        """
        fill(self._image, _IMAGE, names, current)
        self._missed.setVisible(bool(missed))
        self._missed.setText(
            f"{missed} was opened meanwhile: choose it here to look at it."
        )
        self._stack.setCurrentIndex(1 if names else 0)

    def set_labels(self, names: Sequence[str], current: int) -> None:
        """List the Labels layers."""
        fill(self._labels, _LABELS, names, current)
        self._ways["labels"].setEnabled(bool(names))
        self._labels.setEnabled(bool(names) and self._ways["labels"].isChecked())

    def set_settings(self, settings: CellSettings) -> None:
        """Show how cells will be found."""
        blocked = [*self._ways.values(), *self._kinds.values(), self._field]
        blockers = [QSignalBlocker(widget) for widget in blocked]
        self._ways[settings.shows].setChecked(True)
        for kind, box in self._kinds.items():
            box.setChecked(kind in settings.kinds)
            box.setEnabled(settings.shows == "smear")
        self._field.setValue(settings.field_of_view_um)
        self._field.setEnabled(settings.shows != "single_cell")
        self._labels.setEnabled(settings.shows == "labels" and self._labels.count() > 0)
        self._preview.setVisible(settings.shows == "smear")
        self._segment.setText(segment_label(settings.shows))
        del blockers

    def set_pixel_size(self, size: PixelSize | None) -> None:
        """Show the pixel size and where it came from."""
        with QSignalBlocker(self._pixel):
            self._pixel.setValue(0.0 if size is None or size.um is None else size.um)
        self._pixel_source.setText("" if size is None else describe_pixel_size(size))
        odd = size is not None and size.um is not None and not is_plausible(size.um)
        set_warning(self._pixel_source, odd)

    def set_reading(self) -> None:
        """Show that the image is being read and measured."""
        with QSignalBlocker(self._pixel):
            self._pixel.setValue(0.0)
        self._pixel_source.setText("looking at the image ...")
        set_warning(self._pixel_source, False)

    def set_cells(self, text: str, *, flagged: int, count: int) -> None:
        """Show what was found.

        Parameters
        ----------
        text : str
            E.g. ``23 WBC, 2 flagged (border 1, blurred 1)``.
        flagged : int
            Cells that could be hidden.
        count : int
            Cells that can be encoded.
        """
        self._count.setText(text)
        self.hiding.setVisible(flagged > 0)
        for widget in (self._encode, self.correction):
            widget.setVisible(count > 0)
        self._encode.setText(encode_label(count))

    def set_preview(self, on: bool, text: str) -> None:
        """Show whether the view is previewed, and what is found there."""
        with QSignalBlocker(self._preview):
            self._preview.setChecked(on)
        self._preview_text.setVisible(on)
        self._preview_text.setText(f"Preview: {text}" if on else "")

    def set_ready(self, ready: bool, *, busy: bool) -> None:
        """Enable what may be clicked: `ready` with an image, not while `busy`."""
        self._segment.setEnabled(ready and not busy)
        self._preview.setEnabled(ready)
        for widget in (self._encode, self._image):
            widget.setEnabled(not busy)
        self.correction.set_busy(busy)
        self._pixel.setEnabled(ready and not busy)

    def _on_settings(self) -> None:
        checked = next(w for w, button in self._ways.items() if button.isChecked())
        kinds = tuple(kind for kind, box in self._kinds.items() if box.isChecked())
        self.settings_changed.emit(
            CellSettings(checked, kinds or ("wbc",), self._field.value())  # type: ignore[arg-type]
        )
