"""How the selected concept's overlay looks: opacity, threshold, interpolation, name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QSlider,
    QWidget,
)

from napari_cytosae.widgets._swatch import swatch

if TYPE_CHECKING:
    from napari_cytosae.session_values import Overlay


class OverlayControls(QWidget):
    """Shows one concept's overlay; never decides.

    Signals
    -------
    opacity_changed, threshold_changed : float, 0 to 1
    smooth_toggled, bar_toggled : bool
    renamed : str
    """

    opacity_changed = Signal(float)
    threshold_changed = Signal(float)
    smooth_toggled = Signal(bool)
    bar_toggled = Signal(bool)
    renamed = Signal(str)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._swatch = QLabel()
        self._title = QLabel()
        self._title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._name = QLineEdit()
        self._name.setToolTip(
            "Your name for this concept; Enter keeps it for every image and export"
        )
        self._name.setPlaceholderText("Name this concept")
        self._name.setClearButtonEnabled(True)
        self._name.editingFinished.connect(self._on_name)
        self._opacity = _slider("How strongly the overlay covers the cell")
        self._opacity.valueChanged.connect(lambda v: self.opacity_changed.emit(v / 100))
        self._threshold = _slider("Share of the colour scale below which nothing is drawn")
        self._threshold.valueChanged.connect(lambda v: self.threshold_changed.emit(v / 100))
        self._smooth = QCheckBox("Smooth")
        self._smooth.setToolTip("Blend between patches; off: one square a patch")
        self._smooth.toggled.connect(self.smooth_toggled)
        self._bar = QCheckBox("Scale")
        self._bar.setToolTip("Show the colour scale on the canvas: activation by colour")
        self._bar.toggled.connect(self.bar_toggled)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setVerticalSpacing(2)
        layout.addWidget(self._swatch, 0, 0)
        layout.addWidget(self._title, 0, 1)
        layout.addWidget(self._name, 0, 2, 1, 2)
        layout.addWidget(QLabel("Opacity"), 1, 0, 1, 2)
        layout.addWidget(self._opacity, 1, 2)
        layout.addWidget(self._smooth, 1, 3)
        layout.addWidget(QLabel("Threshold"), 2, 0, 1, 2)
        layout.addWidget(self._threshold, 2, 2)
        layout.addWidget(self._bar, 2, 3)
        layout.setColumnStretch(2, 1)
        layout.setColumnMinimumWidth(1, self.fontMetrics().horizontalAdvance("000000"))

    def set_concept(self, concept: int | None, name: str, overlay: Overlay | None) -> None:
        """Show a concept; without an overlay only its name can be changed."""
        self._title.setText("" if concept is None else str(concept))
        with QSignalBlocker(self._name):
            if not (self._name.hasFocus() and self._name.isModified()):
                self._name.setText(name)
        self._name.setEnabled(concept is not None)
        for widget in (self._opacity, self._threshold, self._smooth, self._bar):
            widget.setEnabled(overlay is not None)
        if overlay is None:
            self._swatch.clear()
            return
        height = self.fontMetrics().ascent()
        self._swatch.setPixmap(swatch(overlay.colour).pixmap(height, height))
        with QSignalBlocker(self._opacity):
            self._opacity.setValue(round(100 * overlay.opacity))
        with QSignalBlocker(self._threshold):
            self._threshold.setValue(round(100 * overlay.threshold))
        with QSignalBlocker(self._smooth):
            self._smooth.setChecked(overlay.smooth)
        with QSignalBlocker(self._bar):
            self._bar.setChecked(overlay.bar)

    def _on_name(self) -> None:
        self._name.setModified(False)
        self.renamed.emit(self._name.text().strip())


def _slider(tooltip: str) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(0, 100)
    slider.setToolTip(tooltip)
    return slider
