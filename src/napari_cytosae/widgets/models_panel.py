"""Step 1: which backbone and SAE, whether they fit, and under which terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_cytosae.widgets._fields import wrapped_text
from napari_cytosae.widgets._model_texts import (
    describe_backbone,
    describe_sae,
    describe_size,
    describe_terms,
)
from napari_cytosae.widgets.cache_row import CacheRow
from napari_cytosae.widgets.model_list import ModelList
from napari_cytosae.widgets.training_form import TrainingForm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core.types import BackboneInfo, SaeInfo
    from napari_cytosae.session_values import ModelChoice

DEVICES = {"auto": "auto", "cpu": "CPU", "cuda": "GPU (CUDA)", "mps": "GPU (Apple)"}
PRECISIONS = {"auto": "auto", "float32": "float32", "bfloat16": "bfloat16"}
WEIGHTS = "Weights (*.safetensors *.pt *.pth *.bin);;All files (*)"


@dataclass(frozen=True, slots=True)
class ModelSet:
    """One line of the combo box.

    Attributes
    ----------
    title : str
    backbone, sae : str
        What `load_models` takes.
    here : bool
        Whether both files are on this machine.
    get : str
        Name to download where they are not; empty where nothing can be.
    terms : str
        Licence, citation and size, one a line.
    """

    title: str
    backbone: str
    sae: str
    here: bool = True
    get: str = ""
    terms: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is said of models once they are loaded."""

    backbone: BackboneInfo
    sae: SaeInfo
    layer: int
    device: str
    precision: str
    weights_bytes: int = 0
    seconds: float = 0.0


class ModelsPanel(QWidget):
    """Shows what it is told and says what was clicked; never decides.

    Signals
    -------
    set_chosen : index in the list given to `set_sets`
    files_chosen : path of the backbone, path of the SAE
    device_chosen, precision_chosen : str
    get_clicked, load_clicked
    models_wanted : when the list of all models, or the training, is opened
    section_opened : QWidget
        Of those that are folded at first.

    Attributes
    ----------
    models : ModelList
    training : TrainingForm
    """

    set_chosen = Signal(int)
    files_chosen = Signal(str, str)
    device_chosen = Signal(str)
    precision_chosen = Signal(str)
    get_clicked = Signal()
    load_clicked = Signal()
    models_wanted = Signal()
    section_opened = Signal(QWidget)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._sets: tuple[ModelSet, ...] = ()
        self._current = 0
        self._combo = QComboBox()
        self._combo.setToolTip(
            "Backbone and SAE that encode the cells, or files of your own"
        )
        self._combo.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._combo.activated.connect(self._on_activated)
        self._get = QPushButton("Download")
        self._get.setToolTip("Fetch the chosen models' weights to this machine, once")
        self._get.clicked.connect(self.get_clicked)
        self._load = QPushButton("Load now")
        self._load.setToolTip("Not needed: the first encoding loads them by itself")
        self._load.clicked.connect(self.load_clicked)
        self._backbone, self._sae, self._fits, self._memory, self._terms = (
            wrapped_text() for _ in range(5)
        )
        self._device = _choices(DEVICES)
        self._device.setToolTip(
            "Where the models run; automatic takes a GPU where there is one"
        )
        self._device.activated.connect(
            lambda i: self.device_chosen.emit(self._device.itemData(i))
        )
        self._precision = _choices(PRECISIONS)
        self._precision.setToolTip(
            "float32 is exact; shorter numbers need less memory and time"
        )
        self._precision.activated.connect(
            lambda i: self.precision_chosen.emit(self._precision.itemData(i))
        )
        self.cache = CacheRow()
        buttons = QHBoxLayout()
        buttons.addWidget(self._get)
        buttons.addWidget(self._load)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Model set", self._combo)
        form.addRow("", buttons)
        form.addRow("Backbone", self._backbone)
        form.addRow("SAE", self._sae)
        form.addRow("Fits", self._fits)
        form.addRow("Device", self._device)
        form.addRow("Precision", self._precision)
        form.addRow("Memory", self._memory)
        form.addRow("Kept cells", self.cache)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        self.models, self.training = ModelList(), TrainingForm()
        self._all = _folded(
            "All models, and what fits what",
            "Every model that is known, and where its weights are",
            self.models,
        )
        self._train = _folded(
            "Train an SAE on your images",
            "Concepts of your own stain and microscope",
            self.training,
        )
        self._all.toggled.connect(self._on_opened)
        self._train.toggled.connect(self._on_opened)
        terms = _folded(
            "Terms: licence, citation, sha256",
            "Under which terms the chosen models are used, and whom to cite",
            self._terms,
        )
        for section in (terms, self._all, self._train):
            section.toggled.connect(
                lambda on, section=section: on and self.section_opened.emit(section)
            )
            layout.addWidget(section)
        layout.addStretch(1)

    @property
    def lists_models(self) -> bool:
        """Whether all models are on show, in their list or in the training's."""
        return bool(self._all.isExpanded() or self._train.isExpanded())

    def set_sets(self, sets: Sequence[ModelSet], current: int) -> None:
        """List the model sets; 'Choose files ...' is always the last line."""
        self._sets, self._current = tuple(sets), current
        with QSignalBlocker(self._combo):
            self._combo.clear()
            self._combo.addItems([entry.title for entry in sets])
            self._combo.insertSeparator(len(sets))
            self._combo.addItem("Choose files ...")
            self._combo.setCurrentIndex(current)
        chosen = self._sets[current]
        self._combo.setToolTip(chosen.title)
        self._get.setVisible(bool(chosen.get) and not chosen.here)
        self._load.setVisible(chosen.here)
        self._terms.setText(chosen.terms)

    def set_choice(self, choice: ModelChoice) -> None:
        """Show the picked device and precision."""
        for combo, value in (
            (self._device, choice.device),
            (self._precision, choice.precision),
        ):
            with QSignalBlocker(combo):
                combo.setCurrentIndex(combo.findData(value))

    def set_loaded(self, loaded: Loaded | None) -> None:
        """Show what is loaded; None: not yet."""
        self._load.setEnabled(loaded is None)
        if loaded is None:
            chosen = self._sets[self._current] if self._sets else None
            self._backbone.setText("" if chosen is None else chosen.backbone)
            self._sae.setText("" if chosen is None else chosen.sae)
            self._fits.setText("checked when loaded, with the first encoding")
            self._memory.setText("said once loaded")
            self._device.setItemText(0, "auto")
            self._precision.setItemText(0, "auto")
            return
        backbone, sae = loaded.backbone, loaded.sae
        self._backbone.setText(describe_backbone(backbone))
        self._backbone.setToolTip(describe_terms(backbone))
        self._sae.setText(describe_sae(sae, loaded.layer))
        self._sae.setToolTip(describe_terms(sae))
        self._fits.setText(f"yes: {backbone.width} wide, block {loaded.layer}")
        self._memory.setText(
            f"{describe_size(loaded.weights_bytes)} of weights, loaded in "
            f"{loaded.seconds:.1f} s"
        )
        device = DEVICES.get(loaded.device, loaded.device)
        self._device.setItemText(0, f"auto ({device})")
        self._precision.setItemText(0, f"auto ({loaded.precision})")
        self._terms.setText(
            "\n".join(filter(None, [describe_terms(backbone), describe_terms(sae)]))
        )

    def set_busy(self, busy: bool) -> None:
        """Disable what would conflict with a running job."""
        for widget in (self._combo, self._device, self._precision, self._get):
            widget.setEnabled(not busy)
        self.models.set_busy(busy)
        if busy:
            self._load.setEnabled(False)

    def _on_opened(self, expanded: bool) -> None:
        if expanded:
            self.models_wanted.emit()

    def _on_activated(self, index: int) -> None:
        if index < len(self._sets):
            self.set_chosen.emit(index)
            return
        with QSignalBlocker(self._combo):
            self._combo.setCurrentIndex(self._current)
        backbone, _ = QFileDialog.getOpenFileName(
            self, "The backbone's weights", "", WEIGHTS
        )
        if not backbone:
            return
        sae, _ = QFileDialog.getOpenFileName(self, "The SAE's weights", "", WEIGHTS)
        if sae:
            self.files_chosen.emit(backbone, sae)


def _choices(options: dict[str, str]) -> QComboBox:
    combo = QComboBox()
    for value, text in options.items():
        combo.addItem(text, value)
    return combo


def _folded(title: str, tip: str, content: QWidget) -> QCollapsible:
    section = QCollapsible(title)
    section.toggleButton().setToolTip(tip)
    # An animated fold would run after its widget in a closing dock is gone.
    section.setDuration(0)
    section.addWidget(content)
    return section
