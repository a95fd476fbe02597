"""Every known model: where it is, how large, under which terms, and what it fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QHeaderView,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from napari_cytosae.widgets._model_texts import describe_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core.inventory import FoundModel
    from napari_cytosae.core.known_models import ModelEntry

_ROLES = {"backbone": "backbone", "sae": "SAE", None: "file"}
_LINES = 9


class ModelList(QTreeWidget):
    """One line a model; opened, it tells the rest.

    Signals
    -------
    get_clicked : str
        The name of a model that is not on this machine.
    """

    get_clicked = Signal(str)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setHeaderLabels(["Model", "Size", "Where"])
        self.setToolTip("Models, their size, and whether they are here; open one for more")
        header = self.header()
        if header is not None:
            header.setStretchLastSection(False)
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
            for column in (1, 2):
                header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self.setMinimumHeight(_LINES * self.fontMetrics().lineSpacing())
        self.addTopLevelItem(QTreeWidgetItem(["Looking at the models ..."]))

    def set_models(self, models: Sequence[FoundModel]) -> None:
        """Show what there is; what was open stays open."""
        tops = [self.topLevelItem(row) for row in range(self.topLevelItemCount())]
        opened = {top.text(0) for top in tops if top is not None and top.isExpanded()}
        self.clear()
        for model in models:
            status = model.status
            title = f"{status.entry.name} ({_ROLES[model.role]})"
            top = QTreeWidgetItem([title, describe_size(status.size), status.state])
            top.setToolTip(0, status.entry.title)
            for line in details(model):
                child = QTreeWidgetItem([line])
                child.setToolTip(0, line)
                top.addChild(child)
            self.addTopLevelItem(top)
            if status.state == "not here":
                self.setItemWidget(top, 2, self._get_button(model))
            for row in range(top.childCount()):
                # Takes hold only once the line is in the tree.
                line_item = top.child(row)
                assert line_item is not None
                line_item.setFirstColumnSpanned(True)
            top.setExpanded(title in opened)

    def set_busy(self, busy: bool) -> None:
        """Disable the downloads while a job runs."""
        for button in self.findChildren(QPushButton):
            button.setEnabled(not busy)

    def _get_button(self, model: FoundModel) -> QPushButton:
        entry = model.status.entry
        button = QPushButton("Download")
        button.setToolTip("\n".join(filter(None, [entry.title, *_terms(entry)])))
        button.clicked.connect(lambda: self.get_clicked.emit(entry.name))
        return button


def details(model: FoundModel) -> list[str]:
    """What one line does not hold, a sentence each."""
    entry, status = model.status.entry, model.status
    fits = ", ".join(model.fits)
    if model.problem:
        fitting = f"cannot be used: {model.problem}"
    elif model.info is None:
        needs = ", ".join(entry.needs)
        fitting = f"not on this machine; goes with {needs}" if needs else ""
    else:
        others = "SAEs" if model.role == "backbone" else "backbones"
        fitting = f"fits: {fits}" if fits else f"fits none of the {others} here"
    lines = [
        entry.title,
        fitting,
        *_terms(entry),
        str(status.path) if status.state != "not here" else "",
        f"sha256 {status.sha256}" if status.sha256 else "",
    ]
    return [line for line in lines if line]


def _terms(entry: ModelEntry) -> list[str]:
    licence = f"licence: {entry.licence}" if entry.licence else ""
    return [licence, f"cite: {entry.citation}" if entry.citation else ""]
