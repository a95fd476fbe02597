"""The patient's barcode beside another one, and where they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_cytosae.widgets._bars import BarTable
from napari_cytosae.widgets._fields import NarrowCombo
from napari_cytosae.widgets._notes import note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core.types import Float64Array, Int64Array
    from napari_cytosae.widgets._bars import Bar

LINES = 2


class ComparePage(QWidget):
    """Shows what it is told and says what was clicked; never decides.

    The plot is made when the page is first seen: pyqtgraph takes its time to load.

    Signals
    -------
    other_chosen : object
    concept_picked : int
    file_chosen : str
        Barcodes of other patients.
    map_clicked
    """

    other_chosen = Signal(object)
    concept_picked = Signal(object)
    file_chosen = Signal(str)
    map_clicked = Signal()

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._other = NarrowCombo("Patient, disease or cohort to compare this patient with")
        self._other.activated.connect(
            lambda i: self.other_chosen.emit(self._other.itemData(i))
        )
        self._file = QPushButton("File ...")
        self._file.setToolTip("Patients to compare with: a barcodes.h5ad")
        self._file.clicked.connect(self._on_file)
        self._map = QPushButton("Map")
        self._map.setToolTip("How alike all these patients and diseases are")
        self._map.clicked.connect(self.map_clicked)
        line = QHBoxLayout()
        line.addWidget(QLabel("With"))
        line.addWidget(self._other, 1)
        line.addWidget(self._file)
        line.addWidget(self._map)
        self._said = note()
        self.differences = BarTable(LINES)
        self.differences.setToolTip(
            "Click a concept to see its cells, of all patients that were predicted"
        )
        self.differences.picked.connect(self.concept_picked)
        self._plot: Any = None
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 2, 0, 0)
        self._layout.setSpacing(2)
        self._layout.addLayout(line)
        self._layout.addWidget(self._said)
        self._layout.addWidget(self.differences, 1)

    def set_others(self, others: Sequence[tuple[str, Any]], current: Any) -> None:
        """Offer what to compare with, given as name and key."""
        self._other.offer(others, current)

    def set_said(self, text: str) -> None:
        """Say what is compared."""
        self._said.setText(text)

    def set_differences(self, bars: Sequence[Bar], picked: int | None) -> None:
        """Show where they differ most."""
        self.differences.set_bars(bars, picked)

    def set_barcodes(
        self,
        concepts: Int64Array,
        here: Float64Array,
        there: Float64Array,
        unit: str,
    ) -> None:
        """Draw both barcodes: the patient upwards, the other one downwards."""
        if self._plot is None:
            from napari_cytosae.widgets._barcode_plot import BarcodePlot

            self._plot = BarcodePlot()
            self._layout.insertWidget(1, self._plot)
        self._plot.set_barcodes(concepts, here, there)
        self._plot.set_unit(unit)

    def _on_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Open barcodes of other patients", "", "Barcodes (*.h5ad)"
        )
        if path:
            self.file_chosen.emit(path)
