"""A new SAE for the chosen backbone: on which images, of what kind, into which file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QWidget,
)

from napari_cytosae.core.training_task import ImageTraining

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_cytosae.core.types import SaeKind

KINDS: dict[SaeKind, str] = {
    "batchtopk": "BatchTopK",
    "topk": "TopK",
    "jumprelu": "JumpReLU",
    "relu": "ReLU (published recipe)",
}
LATENTS = (1, 2, 4, 8, 16, 32, 64)
PUBLISHED_LATENTS = 64
_CHOOSE = "Choose ..."
_CHOSEN = "the one chosen above"
_NAME_PX = 180


class TrainingForm(QWidget):
    """Shows what it is told and says what was clicked; never decides.

    Signals
    -------
    train_clicked : ImageTraining
        Without device and precision; without backbone where the chosen one is meant.
    file_chosen : Path
        Where the SAE is to go.
    """

    train_clicked = Signal(object)
    file_chosen = Signal(object)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._images: Path | None = None
        self._out: Path | None = None
        self._folder = self._start = ""
        self._published = False
        self._pick_images = _button(_CHOOSE, "A folder of images", self._on_images)
        self._pick_out = _button(_CHOOSE, "Where the new SAE goes", self._on_out)
        self._backbone = QComboBox()
        self._backbone.addItem(_CHOSEN, "")
        self._backbone.setToolTip("Whose tokens the SAE reads; any that is on this machine")
        self._layer = QSpinBox()
        self._layer.setRange(-12, -1)
        self._layer.setValue(-2)
        self._layer.setToolTip("Block whose output is read; -1 is the last one")
        self._smears = QComboBox()
        self._smears.setToolTip(
            "Whether an image of the folder is one cell or a smear with many"
        )
        self._smears.addItem("single cells", False)
        self._smears.addItem("smears: their white cells", True)
        self._kind = QComboBox()
        self._kind.setToolTip("How the SAE keeps few latents active in a patch")
        for kind, title in KINDS.items():
            self._kind.addItem(title, kind)
        self._kind.currentIndexChanged.connect(self._on_kind)
        self._latents = QComboBox()
        self._latents.setToolTip(
            "Concepts of the SAE, as a multiple of the backbone's width"
        )
        for times in LATENTS:
            self._latents.addItem(f"{times} for each dimension", times)
        self._latents.setCurrentIndex(LATENTS.index(16))
        self._k = QSpinBox()
        self._k.setRange(1, 512)
        self._k.setValue(32)
        self._k.setToolTip("Latents that describe one patch")
        self._seen = QSpinBox()
        self._seen.setRange(0, 10_000_000)
        self._seen.setSingleStep(1000)
        self._seen.setSpecialValueText("24 times each, at least 2,000")
        self._seen.setToolTip("Images seen in all, repeats counted")
        self._resume = QCheckBox("Go on with the interrupted training")
        self._resume.setToolTip(
            "Start from the last state that was saved, not from nothing"
        )
        self._train = QPushButton("Train")
        self._train.clicked.connect(self._on_train)
        self._figures = QLabel()
        self._figures.setWordWrap(True)
        self._form = QFormLayout(self)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form.addRow("Backbone", self._backbone)
        self._form.addRow("Block", self._layer)
        self._form.addRow("Images", self._pick_images)
        self._form.addRow("They show", self._smears)
        self._form.addRow("Kind", self._kind)
        self._form.addRow("Latents", self._latents)
        self._form.addRow("Active", self._k)
        self._form.addRow("Seen", self._seen)
        self._form.addRow("Save as", self._pick_out)
        self._form.addRow(self._resume)
        self._form.addRow(self._train)
        self._form.addRow(self._figures)
        self.set_resumable(False)
        self._show_ready()

    def set_folder(self, folder: Path) -> None:
        """Say where new SAEs go unless the analyst wants otherwise."""
        self._folder = str(folder)

    def set_backbones(self, names: Mapping[str, str]) -> None:
        """Offer the backbones that are here, by reference; what was picked stays."""
        picked = self._backbone.currentData()
        with QSignalBlocker(self._backbone):
            self._backbone.clear()
            self._backbone.addItem(_CHOSEN, "")
            for reference, name in names.items():
                self._backbone.addItem(name, reference)
            self._backbone.setCurrentIndex(max(0, self._backbone.findData(picked)))

    def set_resumable(self, resumable: bool) -> None:
        """Offer to go on with what an interrupted training has left."""
        self._resume.setVisible(resumable)
        self._resume.setChecked(resumable)

    def set_figures(self, text: str) -> None:
        """Show how good the SAE is so far."""
        self._figures.setText(text)

    def set_busy(self, busy: bool) -> None:
        """Disable everything while a job runs."""
        for widget in (
            self._backbone,
            self._layer,
            self._pick_images,
            self._pick_out,
            self._smears,
            self._kind,
            self._latents,
            self._seen,
            self._resume,
        ):
            widget.setEnabled(not busy)
        self._k.setEnabled(not busy and self._kind.currentData() != "relu")
        self._train.setEnabled(not busy and self._is_ready())

    def set_images(self, images: Path) -> None:
        """Take the images to train on."""
        self._images = images
        self._name(self._pick_images, images)

    def set_out(self, out: Path) -> None:
        """Take the name of the new SAE."""
        self._out = out if out.suffix else out.with_suffix(".safetensors")
        self._name(self._pick_out, self._out)
        self.file_chosen.emit(self._out)

    def _is_ready(self) -> bool:
        return self._images is not None and self._out is not None

    def _show_ready(self) -> None:
        self._train.setEnabled(self._is_ready())
        self._train.setToolTip(
            "" if self._is_ready() else "Choose images and a file to save in"
        )

    def _name(self, button: QPushButton, path: Path) -> None:
        metrics = button.fontMetrics()
        middle = Qt.TextElideMode.ElideMiddle
        button.setText(metrics.elidedText(path.name, middle, _NAME_PX))
        button.setToolTip(str(path))
        self._show_ready()

    def _on_images(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Images to train on", self._start)
        if folder:
            self._start = folder
            self.set_images(Path(folder))

    def _on_out(self) -> None:
        out, _ = QFileDialog.getSaveFileName(
            self,
            "The new SAE",
            str(Path(self._folder) / "my-sae.safetensors"),
            "Weights (*.safetensors)",
        )
        if out:
            self.set_out(Path(out))

    def _on_kind(self) -> None:
        published = self._kind.currentData() == "relu"
        self._k.setEnabled(not published)
        if published != self._published:
            usual = PUBLISHED_LATENTS if published else 16
            self._latents.setCurrentIndex(LATENTS.index(usual))
        self._published = published

    def _on_train(self) -> None:
        assert self._images is not None
        assert self._out is not None
        self.train_clicked.emit(
            ImageTraining(
                images=(self._images,),
                out=self._out,
                backbone=self._backbone.currentData(),
                layer=self._layer.value(),
                kind=self._kind.currentData(),
                expansion=self._latents.currentData(),
                k=self._k.value(),
                images_seen=self._seen.value() or None,
                smears=self._smears.currentData(),
                resume=self._resume.isVisibleTo(self) and self._resume.isChecked(),
            )
        )


def _button(text: str, tip: str, clicked: Callable[[], None]) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.clicked.connect(clicked)
    return button
