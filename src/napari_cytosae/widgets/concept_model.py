"""The table of concepts: up to 49,152 rows, sorted and searched in a few milliseconds.

The model keeps `ConceptRows` and one array of row numbers; sorting and searching only
replace that array, and Qt asks for the few rows in view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor

from napari_cytosae.widgets._concept_columns import HEADERS, NAME, SHOW
from napari_cytosae.widgets._concept_rows import ConceptRows
from napari_cytosae.widgets._swatch import swatch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy.typing as npt
    from qtpy.QtCore import QPersistentModelIndex
    from qtpy.QtWidgets import QWidget

    from napari_cytosae.core._annotation import Annotation

    Index = QModelIndex | QPersistentModelIndex

STAR = "\N{BLACK STAR} "
_TEXTS = ("name", "class", "tags")
_ROOT = QModelIndex()


class ConceptTableModel(QAbstractTableModel):
    """Concepts and their statistics.

    Signals
    -------
    show_toggled : concept, shown
    renamed : concept, name
    """

    show_toggled = Signal(int, bool)
    renamed = Signal(int, str)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows = ConceptRows.empty()
        self._order: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._keys = list(HEADERS)
        self._sorted_by, self._sorted = 3, Qt.SortOrder.DescendingOrder
        self._search = ""
        self._keep = "all"
        self._picked: Collection[int] | None = None
        self._colours: dict[int, str] = {}

    # --- content ----------------------------------------------------------------------

    def set_rows(self, rows: ConceptRows) -> None:
        """Show another ranking."""
        self._rows = rows
        self._arrange()

    def update_rows(self, rows: ConceptRows) -> None:
        """Say more of the same concepts: what is selected, edited or in view stays."""
        self.layoutAboutToBeChanged.emit()
        old = self.persistentIndexList()
        concepts = [self.concept_at(index.row()) for index in old]
        self._rows = rows
        self._order = self._ordered()
        places = {c: None if c is None else self.row_of(c) for c in set(concepts)}
        self.changePersistentIndexList(
            old,
            [
                QModelIndex() if row is None else self.index(row, index.column())
                for index, row in zip(old, map(places.get, concepts), strict=True)
            ],
        )
        self.layoutChanged.emit()

    def set_keep(self, keep: str) -> None:
        """Leave concepts out, by a key of `KEEP` or `ONLY`."""
        self._keep = keep
        self._arrange()

    def set_annotations(self, annotations: Mapping[int, Annotation]) -> None:
        """Show other names, tags and stars."""
        self._rows = self._rows.said(annotations)
        self._refresh(NAME, len(self._keys) - 1)

    def set_colours(self, colours: Mapping[int, str]) -> None:
        """Say which concepts are shown, and in which colour."""
        self._colours = dict(colours)
        self._refresh(SHOW)

    def set_search(self, text: str) -> None:
        """Keep concepts whose number, name, tags or class `text` is (nearly) a part of."""
        self._search = text
        self._arrange()

    @property
    def keep(self) -> str:
        """Which concepts are left out, a key of `KEEP` or `ONLY`."""
        return self._keep

    @property
    def picked(self) -> tuple[int, ...] | None:
        """The only concepts that are kept, or None."""
        return None if self._picked is None else tuple(map(int, self._picked))

    @property
    def count(self) -> int:
        """Number of concepts, left out or not."""
        return len(self._rows)

    @property
    def not_located(self) -> int:
        """How many of the shown concepts may be background: nobody has looked yet."""
        return int((self._rows.where.rank[self._order] == 0).sum())

    def unlocated(self) -> npt.NDArray[np.int64]:
        """Concepts of which it is not known where they fire, in the order of the rows.

        Those that are not listed at the moment come last, the strongest first.
        """
        unknown = self._rows.where.rank == 0
        shown = np.zeros(len(unknown), bool)
        shown[self._order] = True
        rows = (self._order[unknown[self._order]], np.flatnonzero(unknown & ~shown))
        found: npt.NDArray[np.int64] = self._rows.concept[np.concatenate(rows)]
        return found

    def set_picked(self, concepts: Collection[int] | None) -> None:
        """Keep only these concepts; None brings all back."""
        self._picked = concepts
        self._arrange()

    def concept_at(self, row: int) -> int | None:
        """The concept in a row of the view."""
        if not 0 <= row < len(self._order):
            return None
        return int(self._rows.concept[self._order[row]])

    def row_of(self, concept: int) -> int | None:
        """The row of the view that shows a concept, or None where it is filtered out."""
        found = np.flatnonzero(self._rows.concept[self._order] == concept)
        return int(found[0]) if found.size else None

    def _arrange(self) -> None:
        self.beginResetModel()
        self._order = self._ordered()
        self.endResetModel()

    def _ordered(self) -> npt.NDArray[np.int64]:
        return self._rows.order(
            self._keys[self._sorted_by],
            descending=self._sorted == Qt.SortOrder.DescendingOrder,
            search=self._search,
            keep=self._keep,
            picked=self._picked,
            shown=self._colours,
        )

    def _refresh(self, first: int, last: int | None = None) -> None:
        if len(self._order):
            end = self.index(len(self._order) - 1, first if last is None else last)
            self.dataChanged.emit(self.index(0, first), end)

    # --- what Qt asks -----------------------------------------------------------------

    def rowCount(self, parent: Index = _ROOT) -> int:
        """Number of rows that pass the search."""
        return 0 if parent.isValid() else len(self._order)

    def columnCount(self, parent: Index = _ROOT) -> int:
        """Number of columns."""
        return 0 if parent.isValid() else len(self._keys)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What a cell shows."""
        if not index.isValid():
            return None
        row, key = self._order[index.row()], self._keys[index.column()]
        if key == "show":
            return self._show_data(int(self._rows.concept[row]), role)
        if role == Qt.ItemDataRole.TextAlignmentRole and key not in _TEXTS:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if key == "name":
            return self._name_data(row, role)
        if key in _TEXTS:
            texts = self._rows.tags if key == "tags" else self._rows.cell_class
            wanted = (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole)
            return texts.shown[row] if role in wanted else None
        if key == "where":
            return self._where_data(row, role)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._rows.flags[row] or None
        if key == "flags":
            letters = "".join(f[0].upper() for f in self._rows.flags[row].split("; ") if f)
            return letters if role == Qt.ItemDataRole.DisplayRole else None
        if role == Qt.ItemDataRole.DisplayRole:
            if key == "concept":
                return str(self._rows.ids[row])
            return number(float(self._rows.numbers[key][row]))
        return None

    def _where_data(self, row: int, role: int) -> Any:
        if role == Qt.ItemDataRole.DisplayRole:
            return self._rows.where.shown[row]
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._rows.shares(row)
        return None

    def _name_data(self, row: int, role: int) -> Any:
        rows = self._rows
        name, said = rows.name.shown[row], rows.cell_class.shown[row]
        if role == Qt.ItemDataRole.DisplayRole:
            return (STAR if rows.star[row] else "") + (name or said)
        if role == Qt.ItemDataRole.EditRole:
            return name
        if role == Qt.ItemDataRole.ForegroundRole and said and not name:
            return QColor(Qt.GlobalColor.darkGray)  # legible in both themes
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join(filter(None, (name, rows.tags.shown[row], said))) or None
        return None

    def _show_data(self, concept: int, role: int) -> Any:
        colour = self._colours.get(concept)
        if role == Qt.ItemDataRole.CheckStateRole:
            return Qt.CheckState.Checked if colour else Qt.CheckState.Unchecked
        return swatch(colour) if role == Qt.ItemDataRole.DecorationRole else None

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        """Column titles and what they mean."""
        if orientation == Qt.Orientation.Horizontal:
            title, meaning = HEADERS[self._keys[section]]
            if role == Qt.ItemDataRole.DisplayRole:
                return title
            if role == Qt.ItemDataRole.ToolTipRole:
                return meaning
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        """Ticks can be set, names edited."""
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if index.column() == NAME:
            flags |= Qt.ItemFlag.ItemIsEditable
        return flags

    def setData(
        self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole
    ) -> bool:
        """Announce a tick or a name; the session decides, and tells the model."""
        concept = self.concept_at(index.row())
        if concept is None:
            return False
        if index.column() == SHOW and role == Qt.ItemDataRole.CheckStateRole:
            self.show_toggled.emit(concept, Qt.CheckState(value) == Qt.CheckState.Checked)
            return True
        if index.column() == NAME and role == Qt.ItemDataRole.EditRole:
            self.renamed.emit(concept, str(value).strip())
            return True
        return False

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column."""
        self._sorted_by, self._sorted = column, order
        self._arrange()


def number(value: float) -> str:
    """Short enough for a narrow column; empty where unknown."""
    if np.isnan(value):
        return ""
    if np.isinf(value):
        return "\N{INFINITY}"
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.3g}" if abs(value) >= 100 else f"{value:.2f}"
    if abs(value) < 0.01:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:.0e}".replace("e+0", "e")
