"""Which image is whose: by folder, by a pattern of file names, or typed in by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_cytosae.core.assignment import (
    PLACE,
    SUFFIXES,
    by_folder,
    by_pattern,
    images_in,
)
from napari_cytosae.core.types import CytoError
from napari_cytosae.patient_session import PatientImage
from napari_cytosae.widgets._notes import note
from napari_cytosae.widgets._sentences import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_IMAGE = Qt.ItemDataRole.UserRole


class AssignDialog(QDialog):
    """A table of images and patients; the patient's column can be edited.

    Signals
    -------
    assigned : list of (PatientImage, str)
    """

    assigned = Signal(object)

    def __init__(
        self,
        images: Sequence[tuple[PatientImage, str]],
        *,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Images of patients")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.table = QTableWidget(0, 2)
        self.table.setHorizontalHeaderLabels(["Image", "Patient (double click to type)"])
        header = self.table.horizontalHeader()
        for column in range(2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().hide()
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.pattern = QLineEdit(f"{PLACE}_*")
        self.pattern.setToolTip(
            f"{PLACE} stands for the patient's name, * for anything: {PLACE}_*.tif"
        )
        self._said = note()
        add, name = QHBoxLayout(), QHBoxLayout()
        _button(add, "Add folder ...", self._add_folder)
        _button(add, "Add files ...", self._add_files)
        _button(add, "Remove", self.remove_selected)
        name.addWidget(QLabel("Patients by"))
        _button(name, "folder", self.name_by_folder)
        _button(name, "pattern", self.name_by_pattern)
        name.addWidget(self.pattern, 1)
        kinds = QDialogButtonBox.StandardButton
        buttons = QDialogButtonBox(kinds.Ok | kinds.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self.accepted.connect(lambda: self.assigned.emit(self.assignment()))
        layout = QVBoxLayout(self)
        layout.addLayout(add)
        layout.addWidget(self.table, 1)
        layout.addLayout(name)
        layout.addWidget(self._said)
        layout.addWidget(buttons)
        self.resize(560, 420)
        self.add(images)

    def assignment(self) -> list[tuple[PatientImage, str]]:
        """What the table says; images without a patient are of nobody."""
        return [(self._image(row), self._patient(row)) for row in self._rows()]

    def add(self, images: Iterable[tuple[PatientImage, str]]) -> None:
        """Add images that are not there yet."""
        there = {(image.path, image.layer) for image, _ in self.assignment()}
        for image, patient in images:
            if (image.path, image.layer) in there:
                continue
            there.add((image.path, image.layer))
            row = self.table.rowCount()
            self.table.insertRow(row)
            name = QTableWidgetItem(image.name)
            name.setFlags(name.flags() & ~Qt.ItemFlag.ItemIsEditable)
            name.setToolTip(image.path or image.name)
            name.setData(_IMAGE, image)
            self.table.setItem(row, 0, name)
            self.table.setItem(row, 1, QTableWidgetItem(patient))

    def add_folder(self, folder: str) -> None:
        """Add all images of a folder; where it has folders, each is a patient."""
        try:
            paths = images_in(folder)
        except CytoError as error:
            self._said.setText(str(error))
            return
        owners = by_folder(paths, folder)
        known = {patient for _, patient in self.assignment()} - {""}
        images = [PatientImage(path.name, str(path)) for path in paths]
        self.add(zip(images, owners, strict=True))
        said = f"{counted(len(paths), 'image')} in {folder}.{_of_one_name(owners)}"
        both = [patient for patient in dict.fromkeys(owners) if patient in known]
        if both:
            said += f" {both[0]} was on the list before: is it the same patient?"
        self._said.setText(said)

    def name_by_folder(self) -> None:
        """Name the patient of each file after its folder."""
        paths = [image.path for image, _ in self.assignment() if image.path]
        owners = dict(zip(paths, by_folder(paths), strict=True))
        self._name(lambda image: owners.get(image.path, ""))
        self._said.setText(self._said.text() + _of_one_name(list(owners.values())))

    def name_by_pattern(self) -> None:
        """Name the patient of each image as the pattern says."""
        pattern = self.pattern.text()
        try:
            self._name(lambda image: by_pattern(image.name, pattern))
        except CytoError as error:
            self._said.setText(str(error))

    def remove_selected(self) -> None:
        """Take images off the list."""
        rows = {index.row() for index in self.table.selectedIndexes()}
        for row in sorted(rows, reverse=True):
            self.table.removeRow(row)

    def _name(self, patient_of: Callable[[PatientImage], str]) -> None:
        """Name those that a rule has a name for; the others keep theirs."""
        named = 0
        for row in self._rows():
            patient = patient_of(self._image(row))
            if patient:
                self._item(row, 1).setText(patient)
                named += 1
        of = counted(self.table.rowCount(), "image")
        self._said.setText(f"{named:,} of {of} {'follows' if named == 1 else 'follow'} it.")

    def _rows(self) -> range:
        return range(self.table.rowCount())

    def _image(self, row: int) -> PatientImage:
        image = self._item(row, 0).data(_IMAGE)
        assert isinstance(image, PatientImage)
        return image

    def _patient(self, row: int) -> str:
        return str(self._item(row, 1).text()).strip()

    def _item(self, row: int, column: int) -> QTableWidgetItem:
        item = self.table.item(row, column)
        assert item is not None
        return item

    def _add_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Images of patients")
        if folder:
            self.add_folder(folder)

    def _add_files(self) -> None:
        kinds = " ".join(f"*{suffix}" for suffix in SUFFIXES)
        paths, _ = QFileDialog.getOpenFileNames(self, "Images", "", f"Images ({kinds})")
        self.add((PatientImage(Path(p).name, p), "") for p in paths)


def _of_one_name(owners: Sequence[str]) -> str:
    """That patients are called by the whole way to their folder, where some are."""
    whole = [owner for owner in owners if "/" in owner]
    if not whole:
        return ""
    return (
        f" Folders of one name lie in different ones: {whole[0]} is called by both. Where "
        "two are one patient, give them one name."
    )


def _button(line: QHBoxLayout, text: str, slot: Callable[[], None]) -> None:
    button = QPushButton(text)
    button.setAutoDefault(False)
    button.clicked.connect(slot)
    line.addWidget(button)
