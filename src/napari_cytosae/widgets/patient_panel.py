"""Step 4: a patient's images, what the head says of them, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QStackedLayout,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_cytosae.core.types import RESEARCH_USE
from napari_cytosae.widgets._bars import BarTable
from napari_cytosae.widgets._compare_page import ComparePage
from napari_cytosae.widgets._count_page import CountPage
from napari_cytosae.widgets._export_button import Choice, ExportButton
from napari_cytosae.widgets._fields import NarrowCombo
from napari_cytosae.widgets._notes import note
from napari_cytosae.widgets._why_page import WhyPage
from napari_cytosae.widgets.empty_state import EmptyState
from napari_cytosae.widgets.gallery import Gallery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.widgets._bars import Bar
    from napari_cytosae.widgets._thumbnails import Thumbnail

CLASS_LINES = 4
_TABLES = "Tables (*.csv)"
EXPORTS = (
    Choice(
        "predictions",
        "Predictions ...",
        "A row a patient: the probability of each class, or why there is no answer",
        "predictions.csv",
        _TABLES,
    ),
    Choice(
        "why",
        "Why, concept by concept ...",
        "What adds up to each score: contribution, place in the cell, patches a cell",
        "why.csv",
        _TABLES,
    ),
    Choice(
        "barcodes",
        "Barcodes ...",
        "Patches a cell of all concepts with bootstrap intervals, as of `barcode`",
        "barcodes.h5ad",
        "Barcodes (*.h5ad)",
    ),
)


class PatientPanel(QWidget):
    """Shows what it is told and says what was clicked; never decides.

    Signals
    -------
    assign_clicked, sample_clicked, predict_clicked, predict_all_clicked
    patient_chosen : str
    head_chosen : str
        A file, or the built-in head's name.
    class_picked : str
    export_clicked : key of `EXPORTS`, path
    """

    assign_clicked = Signal()
    sample_clicked = Signal()
    predict_clicked = Signal()
    predict_all_clicked = Signal()
    patient_chosen = Signal(str)
    head_chosen = Signal(str)
    class_picked = Signal(object)
    export_clicked = Signal(str, str)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._patient = NarrowCombo("Whose images are predicted, explained and counted")
        self._patient.textActivated.connect(self.patient_chosen)
        self._assign = QPushButton("Images ...")
        self._assign.setToolTip(
            "Say which image is whose: by folder, by pattern or by hand"
        )
        self._assign.clicked.connect(self.assign_clicked)
        self._head = NarrowCombo("The head that turns a patient's barcode into a class")
        self._head.activated.connect(self._on_head)
        self._file = QPushButton("File ...")
        self._file.setToolTip("A head.json of `napari-cytosae train-head`")
        self._file.clicked.connect(self._on_file)
        self._about = note()
        self._predict = QPushButton("Predict")
        self._predict.setToolTip(
            "Encode this patient's images and let the head say which class they fit"
        )
        self._predict.clicked.connect(self.predict_clicked)
        self._predict_all = QPushButton("Predict all")
        self._predict_all.setToolTip(
            "Predict all patients that are not predicted yet, to compare and to export them"
        )
        self._predict_all.clicked.connect(self.predict_all_clicked)
        self._export = ExportButton(EXPORTS)
        self._export.setToolTip(
            "Save what is predicted, why, or the barcodes, of all predicted patients"
        )
        self._export.chosen.connect(self.export_clicked)
        self.classes = BarTable(CLASS_LINES)
        self.classes.setToolTip("How likely the head finds each class; a click asks why")
        self.classes.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.classes.picked.connect(self.class_picked)
        self._answer = note()
        self._banner = note()
        self._banner.setStyleSheet("font-weight: bold")
        self.why, self.compare, self.count = WhyPage(), ComparePage(), CountPage()
        self.pages = QTabWidget()
        self.pages.setDocumentMode(True)
        self.pages.addTab(self.why, "Why")
        self.pages.addTab(self.compare, "Compare")
        self.pages.addTab(self.count, "Count")
        self._cells = note()
        self.gallery = Gallery()
        self._lay_out()
        self.set_patients((), "")
        self.set_result((), "", "", "", found=False)

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setSpacing(4)
        grid.addWidget(QLabel("Patient"), 0, 0)
        grid.addWidget(self._patient, 0, 1)
        grid.addWidget(self._assign, 0, 2)
        grid.addWidget(QLabel("Head"), 1, 0)
        grid.addWidget(self._head, 1, 1)
        grid.addWidget(self._file, 1, 2)
        grid.setColumnStretch(1, 1)
        buttons = QHBoxLayout()
        buttons.addWidget(self._predict, 1)
        buttons.addWidget(self._predict_all)
        buttons.addWidget(self._export)
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(6, 6, 6, 0)
        column.setSpacing(3)
        column.addLayout(grid)
        column.addWidget(self._about)
        column.addLayout(buttons)
        column.addWidget(self._banner)
        column.addWidget(self.classes)
        column.addWidget(self._answer)
        column.addWidget(self.pages, 1)
        column.addWidget(self._cells)
        column.addWidget(self.gallery)
        self._rest = QWidget()
        column.addWidget(self._rest, 1)
        self._empty = EmptyState(
            "A patient is a set of images: say which are whose, then let a head predict. "
            f"{RESEARCH_USE}",
            "Assign images ...",
            "Say which image is whose: by folder, by pattern or by hand",
        )
        self._empty.clicked.connect(self.assign_clicked)
        sample = self._empty.offer(
            "Open synthetic patients",
            "Drawn cells of patients that do not exist, to try it",
        )
        sample.clicked.connect(self.sample_clicked)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._empty)
        self._stack.addWidget(content)

    @property
    def counting(self) -> bool:
        """Whether the differential is in front."""
        return self.pages.currentWidget() is self.count

    @property
    def comparing(self) -> bool:
        """Whether the comparison is in front."""
        return self.pages.currentWidget() is self.compare

    # --- setters ----------------------------------------------------------------------

    def set_patients(self, patients: Sequence[str], current: str) -> None:
        """Offer these patients."""
        self._stack.setCurrentIndex(1 if patients else 0)
        self._predict_all.setVisible(len(patients) > 1)
        self._patient.offer([(name, name) for name in patients], current)

    def set_heads(self, heads: Sequence[tuple[str, str]], current: str) -> None:
        """Offer these heads, given as name and reference."""
        self._head.offer(heads, current)

    def set_about(self, text: str) -> None:
        """Say how many images and cells the patient has."""
        self._about.setText(text)

    def set_busy(self, busy: bool) -> None:
        """Disable what would start a second job."""
        predict = (self._predict, self._predict_all)
        for button in (*predict, self._assign, self._file, self._export, self._head):
            button.setEnabled(not busy)
        self._empty.setEnabled(not busy)

    def set_result(
        self, bars: Sequence[Bar], label: str, answer: str, banner: str, *, found: bool
    ) -> None:
        """Show the classes, one of them explained, and what the prediction is worth."""
        self.classes.set_bars(bars, label)
        height = self.classes.verticalHeader().defaultSectionSize()
        self.classes.setFixedHeight(min(max(len(bars), 2), 6) * height + 4)
        self._answer.setText(answer)
        self._banner.setText(banner)
        self._banner.setVisible(bool(banner))
        self._predict.setText("Predict again" if found else "Predict")
        for widget in (
            self.classes,
            self._answer,
            self.pages,
            self._export,
            self._cells,
            self.gallery,
        ):
            widget.setVisible(found)
        self._rest.setVisible(not found)

    def set_cells(
        self, title: str, cells: Sequence[Thumbnail], selected: Sequence[int]
    ) -> None:
        """Show cells, known by their position, below the pages."""
        self._cells.setText(title)
        self.gallery.set_cells(cells, selected)

    def _on_head(self, index: int) -> None:
        self.head_chosen.emit(self._head.itemData(index))

    def _on_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a head", "", "Heads (*.json)")
        if path:
            self.head_chosen.emit(path)
