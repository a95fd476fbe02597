"""Step 3: which concepts fire, where, and in which cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from napari_cytosae.session_values import OVERLAY_COLOURS, TableView
from napari_cytosae.widgets._concept_rows import KEEP, ONLY
from napari_cytosae.widgets._keys import typed
from napari_cytosae.widgets._sentences import encode_label
from napari_cytosae.widgets.cheat_sheet import CheatSheet
from napari_cytosae.widgets.concept_model import ConceptTableModel
from napari_cytosae.widgets.concept_table import ConceptTable
from napari_cytosae.widgets.empty_state import EmptyState
from napari_cytosae.widgets.lower_tabs import LowerTabs
from napari_cytosae.widgets.overlay_controls import OverlayControls
from napari_cytosae.widgets.search_line import SearchLine
from napari_cytosae.widgets.tools_menu import ToolsMenu

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QKeyEvent

    from napari_cytosae.session_values import Scope
    from napari_cytosae.widgets.gallery import Gallery

SCOPES: dict[Scope, str] = {
    "image": "image",
    "cells": "cells",
    "patch": "patch",
    "like": "like these",
    "wbc": "WBC",
    "rbc": "RBC",
    "platelet": "platelets",
    "accepted": "accepted",
    "patient": "patient",
}
_CONTENT = 2
"""Page with the table."""
_KEEP_AT_FIRST = "background"
"""The strongest concepts of any cell are those of the ground around it."""


class ConceptsPanel(QWidget):
    """Shows what it is told and says what was clicked; never decides.

    Signals
    -------
    encode_clicked, segment_clicked
    export_clicked : folder
    scope_chosen : Scope
    keep_chosen : str
        Which concepts are left out, a key of `KEEP` or `ONLY`.
    slot_chosen : int
        Show the selected concept in this slot.
    toggle_clicked, star_clicked
        Show or hide the selected concept; star it, or take its star away.
    searched
    judged : Verdict
        On the selected cells; empty: none any more.
    """

    encode_clicked = Signal()
    segment_clicked = Signal()
    export_clicked = Signal(str)
    scope_chosen = Signal(str)
    keep_chosen = Signal(str)
    slot_chosen = Signal(int)
    toggle_clicked = Signal()
    star_clicked = Signal()
    searched = Signal()
    judged = Signal(str)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._encode = QPushButton("Encode")
        self._encode.setToolTip("Have the models look at every cell that was found")
        self._encode.clicked.connect(self.encode_clicked)
        self._export = QPushButton("Export ...")
        self._export.setToolTip(
            "Save cells.csv, concepts.csv and the rest of the results in a folder; "
            "More > Also export says what else"
        )
        self._export.clicked.connect(self._on_export)
        self._more = QPushButton("More")
        self._more.setToolTip("Passports, catalogues, names of others, what is exported")
        self.tools = ToolsMenu(parent=self)
        self._more.setMenu(self.tools)
        self._scope = QComboBox()
        for scope, text in SCOPES.items():
            self._scope.addItem(text, scope)
        self._scope.setToolTip(
            "Rank by activation in the whole image, in the selected cells, in the patch "
            "that was clicked, by what selected cells have in common, in a kind of cell, "
            "in the cells you accepted, or in all encoded images of the patient of step 4"
        )
        self._scope.activated.connect(
            lambda i: self.scope_chosen.emit(self._scope.itemData(i))
        )
        self._help = CheatSheet()
        self._keep = QComboBox()
        self._keep.setToolTip(
            "Leave out concepts that fire mostly outside the cells, or in nearly all cells"
        )
        for key, (text, _) in KEEP.items():
            self._keep.addItem(text, key)
        for key, text in ONLY.items():
            self._keep.addItem(text, key)
        for combo in (self._scope, self._keep):
            combo.setMinimumWidth(80)
        self.model = ConceptTableModel(parent=self)
        self.search = SearchLine(self.model, "Search id, name, tag, class")
        self.search.field.setToolTip(
            "Words of the id, name, tags or class; a typing error is forgiven"
        )
        self.search.searched.connect(self.searched)
        self.set_keep(_KEEP_AT_FIRST)
        self._keep.activated.connect(self._on_keep)
        self.table = ConceptTable(self.model)
        self.overlay = OverlayControls()
        self.below = LowerTabs()
        self.gallery = self.below.gallery
        self._lay_out()
        # A click beside the controls makes the keys work too.
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)

    def _lay_out(self) -> None:
        top = QHBoxLayout()
        top.addWidget(self._encode, 1)
        top.addWidget(self._export)
        top.addStretch()
        top.addWidget(self._more)
        rank = QHBoxLayout()
        rank.addWidget(QLabel("Rank by"))
        rank.setSpacing(4)
        # As the longest texts of both need it in the narrowest dock.
        rank.addWidget(self._scope, 43)
        rank.addWidget(self._keep, 57)
        rank.addWidget(self._help)
        content = QWidget()
        column = QVBoxLayout(content)
        column.setSpacing(4)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(rank)
        column.addWidget(self.search)
        column.addWidget(self.table, 1)
        column.addWidget(self.overlay)
        column.addWidget(self.below)
        self._no_cells = EmptyState(
            "There are no cells yet.",
            "Segment cells first",
            "Find the cells of the image, as step 2 says",
        )
        self._no_cells.clicked.connect(self.segment_clicked)
        self._not_encoded = EmptyState(
            "The models turn each cell into concepts; the first time they are loaded too.",
            "Encode",
            self._encode.toolTip(),
        )
        self._not_encoded.clicked.connect(self.encode_clicked)
        self._stack = QStackedLayout()
        for page in (self._no_cells, self._not_encoded, content):
            self._stack.addWidget(page)
        all_of_it = QVBoxLayout(self)
        all_of_it.setSpacing(4)
        all_of_it.setContentsMargins(6, 6, 6, 6)
        all_of_it.addLayout(top)
        all_of_it.addLayout(self._stack, 1)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The keys of the dock, which whatever has the focus did not want itself."""
        key = typed(event)
        if key == "?":
            self._help.unfold()
        elif self._stack.currentIndex() != _CONTENT or not self._press(
            key, repeated=event.isAutoRepeat()
        ):
            super().keyPressEvent(event)

    def _press(self, key: str, *, repeated: bool) -> bool:
        """Do what a key stands for; whether it stands for anything."""
        moves: dict[str, tuple[ConceptTable | Gallery, int]] = {
            "up": (self.table, -1),
            "down": (self.table, 1),
            "left": (self.gallery, -1),
            "right": (self.gallery, 1),
        }
        if key in moves:
            view, by = moves[key]
            view.step(by)
            return True
        acts: dict[str, Callable[[], None]] = {
            " ": self.toggle_clicked.emit,
            "n": self.table.edit_name,
            "s": self.star_clicked.emit,
            "a": lambda: self.judged.emit("accept"),
            "r": lambda: self.judged.emit("reject"),
            "u": lambda: self.judged.emit(""),
        }
        acts |= {
            str(slot + 1): lambda slot=slot: self.slot_chosen.emit(slot)  # type: ignore[misc]
            for slot in range(len(OVERLAY_COLOURS))
        }
        if key in acts and not repeated:
            acts[key]()
        return key in acts

    # --- setters ----------------------------------------------------------------------

    def set_stage(
        self, *, cells: int | None, encoded: bool, catalogue: bool, busy: bool
    ) -> None:
        """Show the page that fits; `cells` is None before any were looked for.

        The table is there once there are activations, or a catalogue to list.
        """
        self._encode.setVisible(encoded or (catalogue and bool(cells)))
        self._export.setVisible(encoded)
        if encoded or catalogue:
            self._stack.setCurrentIndex(_CONTENT)
        else:
            self._stack.setCurrentIndex(1 if cells else 0)
        label = encode_label(cells or 0)
        self._encode.setText(f"{label} again" if encoded else label)
        self._not_encoded.button.setText(label)
        for button in (
            self._encode,
            self._export,
            self._not_encoded.button,
            self._no_cells.button,
        ):
            button.setEnabled(not busy)

    def set_scope(self, scope: Scope) -> None:
        """Show what concepts are ranked by."""
        with QSignalBlocker(self._scope):
            self._scope.setCurrentIndex(self._scope.findData(scope))
        self.table.sort_by_shared(scope == "like")

    def set_driving(self, text: str) -> None:
        """Say what the gallery shows."""
        self.below.set_caption(text)

    def table_view(self) -> TableView:
        """How the table is sorted, and what it lists."""
        now, before = self.table.sorting()
        model = self.model
        return TableView(*now, model.keep, self.search.field.text(), before, model.picked)

    def set_table_view(self, view: TableView) -> None:
        """Sort and list as `table_view` said."""
        self.set_keep(view.keep)
        self.search.look_for(view.search)
        self.search.pick(view.picked)
        self.table.set_sorting((view.column, view.descending), view.before)

    def set_keep(self, keep: str) -> None:
        """Leave concepts out, by a key of `KEEP` or `ONLY`; of an unknown one, none."""
        self._keep.setCurrentIndex(max(0, self._keep.findData(keep)))
        self.model.set_keep(self._keep.currentData())

    def _on_keep(self, index: int) -> None:
        keep = self._keep.itemData(index)
        self.model.set_keep(keep)
        self.keep_chosen.emit(keep)

    def _on_export(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Save the results in")
        if folder:
            self.export_clicked.emit(folder)
