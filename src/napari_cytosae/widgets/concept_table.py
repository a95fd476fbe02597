"""The view of the table of concepts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QModelIndex, QPoint, QSignalBlocker, Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QMenu,
    QTableView,
    QWidget,
)

from napari_cytosae.widgets._concept_cells import NameField, Swatch
from napari_cytosae.widgets._concept_columns import HEADERS, NAME, OPTIONAL, SHOW
from napari_cytosae.widgets._keys import typed
from napari_cytosae.widgets._swatch import SWATCH_PX

if TYPE_CHECKING:
    from collections.abc import Collection

    from qtpy.QtGui import QFocusEvent, QKeyEvent, QResizeEvent

    from napari_cytosae.widgets.concept_model import ConceptTableModel

_SETTLED_MS = 150
_IN_VIEW = 64
_NAME_DIGITS = 14
"""Least width of a name where there is too little room; some twelve letters."""


class ConceptTable(QTableView):
    """The view; keeps the selected concept when rows are sorted, searched or replaced.

    Signals
    -------
    concept_selected : concept
    columns_chosen : list of str
        Of `OPTIONAL`, by the analyst.
    left
        The pointer or the keys went elsewhere; Qt's own `entered` says when the pointer
        comes to a row, `concept_selected` when the keys do.
    view_changed
        Other rows are in view, or the same say more; a moment after the last change.
    """

    concept_selected = Signal(int)
    columns_chosen = Signal(object)
    left = Signal()
    view_changed = Signal()

    def __init__(self, model: ConceptTableModel, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._concepts = model
        self._selected: int | None = None
        self._sorted_before: tuple[int, Qt.SortOrder] | None = None
        self.setModel(model)
        self.setToolTip("Up, Down: next concept; Space: lay it over the slide; N: name it")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked
            | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.setWordWrap(False)
        self.setMouseTracking(True)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSortingEnabled(True)
        self.sortByColumn(3, Qt.SortOrder.DescendingOrder)
        rows = self.verticalHeader()
        rows.hide()
        rows.setDefaultSectionSize(self.fontMetrics().height() + 8)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(24)
        # Beside the title of a narrow column the arrow would cover its last letter.
        header.setStyleSheet(
            "QHeaderView::up-arrow, QHeaderView::down-arrow "
            "{ subcontrol-position: bottom center; width: 9px; height: 4px }"
        )
        digit = self.fontMetrics().horizontalAdvance("0")
        narrow = 4 * digit + 8
        place = 6 * digit + 2
        text = 18 * digit
        widths = (SWATCH_PX + 12, 5 * digit + 8, 0, narrow, narrow, narrow, place)
        optional = (3 * digit, narrow + digit, text, text, narrow, narrow, narrow)
        for column, width in enumerate((*widths, *optional)):
            mode = QHeaderView.ResizeMode.Interactive
            if column == NAME:
                mode = QHeaderView.ResizeMode.Fixed  # see `_fit_name`
            header.setSectionResizeMode(column, mode)
            header.resizeSection(column, width)
        header.sectionResized.connect(self._on_resized)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(self._choose_columns)
        self.show_columns(())
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLED_MS)
        self._settled.timeout.connect(self.view_changed)
        self._seen: list[int] = []
        self._sees_selected = False
        model.layoutAboutToBeChanged.connect(self._remember_view)
        model.layoutChanged.connect(self._return_to_view)
        for changed in (model.modelReset, self.verticalScrollBar().valueChanged):
            changed.connect(lambda *_: self._settled.start())
        model.modelReset.connect(self._restore)
        self.selectionModel().currentRowChanged.connect(self._on_current)
        self.setItemDelegateForColumn(SHOW, Swatch(self))
        self.setItemDelegateForColumn(NAME, NameField(self))
        self.clicked.connect(self._on_click)

    def show_columns(self, shown: Collection[str]) -> None:
        """Show these of the `OPTIONAL` columns, and hide the others."""
        for key in OPTIONAL:
            self.setColumnHidden(list(HEADERS).index(key), key not in shown)
        self._let_scroll()

    def shown_columns(self) -> list[str]:
        """Which of the `OPTIONAL` columns are shown."""
        keys = list(HEADERS)
        return [key for key in OPTIONAL if not self.isColumnHidden(keys.index(key))]

    def columns_menu(self) -> QMenu:
        """A menu in which optional columns are ticked."""
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for key in OPTIONAL:
            action = menu.addAction(HEADERS[key][0] if key != "flags" else "Flags")
            action.setToolTip(HEADERS[key][1])
            action.setCheckable(True)
            action.setChecked(key in self.shown_columns())
            action.toggled.connect(lambda on, key=key: self._show_column(key, on))
        return menu

    def _show_column(self, key: str, shown: bool) -> None:
        self.setColumnHidden(list(HEADERS).index(key), not shown)
        self._let_scroll()
        self.columns_chosen.emit(self.shown_columns())

    def _let_scroll(self) -> None:
        """Sideways only where the analyst asked for more than fits."""
        self._fit_name()
        policy = Qt.ScrollBarPolicy
        more = bool(self.shown_columns())
        self.setHorizontalScrollBarPolicy(
            policy.ScrollBarAsNeeded if more else policy.ScrollBarAlwaysOff
        )

    def _fit_name(self) -> None:
        """Give the name what room the others leave; beside optional ones, some at least.

        Qt would make a column that stretches vanish before it scrolls.
        """
        header = self.horizontalHeader()
        others = header.length() - header.sectionSize(NAME)
        least = header.minimumSectionSize()
        if self.shown_columns():
            least = _NAME_DIGITS * self.fontMetrics().horizontalAdvance("0")
        header.resizeSection(NAME, max(self.viewport().width() - others, least))

    def _on_resized(self, column: int, _: int, __: int) -> None:
        if column != NAME:
            self._fit_name()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The name takes what there is."""
        super().resizeEvent(event)
        self._fit_name()

    def _choose_columns(self, place: QPoint) -> None:
        menu = self.columns_menu()
        menu.exec(self.horizontalHeader().mapToGlobal(place))
        menu.deleteLater()

    def set_selected(self, concept: int | None) -> None:
        """Select a concept's row and scroll to it."""
        if concept != self._selected:
            self._selected = concept
            self._restore()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Up and Down are the table's own; letters are the panel's, none is searched."""
        if typed(event) in ("", "up", "down"):
            super().keyPressEvent(event)
        else:
            event.ignore()

    def sort_by_shared(self, shared: bool) -> None:
        """Put first what examples share, for as long as they are ranked by."""
        header = self.horizontalHeader()
        if shared and self._sorted_before is None:
            self._sorted_before = header.sortIndicatorSection(), header.sortIndicatorOrder()
            column = list(HEADERS).index("specificity")
            self.sortByColumn(column, Qt.SortOrder.DescendingOrder)
        elif not shared and self._sorted_before is not None:
            before, self._sorted_before = self._sorted_before, None
            self.sortByColumn(*before)

    def sorting(self) -> tuple[tuple[str, bool], tuple[str, bool] | None]:
        """Column and whether it descends; then those before what examples share."""
        header = self.horizontalHeader()
        now = header.sortIndicatorSection(), header.sortIndicatorOrder()
        before = self._sorted_before
        return _named(*now), None if before is None else _named(*before)

    def set_sorting(self, now: tuple[str, bool], before: tuple[str, bool] | None) -> None:
        """Sort as `sorting` said; columns that are none are left out."""
        keys = list(HEADERS)
        orders = Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder
        if self._sorted_before is not None and before is not None and before[0] in keys:
            self._sorted_before = keys.index(before[0]), orders[before[1]]
        if now[0] in keys:
            self.sortByColumn(keys.index(now[0]), orders[now[1]])

    def select(self, concept: int) -> None:
        """Go to a concept, as a click does; none that is not listed."""
        row = self._concepts.row_of(concept)
        if row is not None:
            self.selectRow(row)
            self.scrollTo(self._concepts.index(row, 0))

    def step(self, rows: int) -> None:
        """Go on to another row, as Up and Down do."""
        row = max(self.currentIndex().row() + rows, 0)
        if row < self._concepts.rowCount():
            self.selectRow(row)

    def leaveEvent(self, event: QEvent) -> None:
        """Say so."""
        super().leaveEvent(event)
        self.left.emit()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Say so, unless the pointer is here."""
        super().focusOutEvent(event)
        if not self.underMouse():
            self.left.emit()

    def edit_name(self) -> None:
        """Start editing the selected concept's name."""
        index = self.currentIndex()
        if index.isValid():
            self.edit(index.siblingAtColumn(NAME))

    def in_view(self) -> list[int]:
        """The concepts in view, those of a tall screen at most."""
        first = max(self.rowAt(0), 0)
        rows = range(first, min(first + _IN_VIEW, self._concepts.rowCount()))
        return [c for c in map(self._concepts.concept_at, rows) if c is not None]

    def _remember_view(self, *_: object) -> None:
        self._seen = self.in_view()
        at = self.visualRect(self.currentIndex())
        self._sees_selected = self.viewport().rect().intersects(at)

    def _return_to_view(self, *_: object) -> None:
        """The rows in view stay in view, unless they are the first: then the first are.

        Of those that are left, as more is known of where concepts fire, and the selected
        one before the others.
        """
        left = (self._concepts.row_of(concept) for concept in self._seen)
        row = next((row for row in left if row is not None), None)
        if row is not None and self.verticalScrollBar().value() > 0:
            at_top = QAbstractItemView.ScrollHint.PositionAtTop
            self.scrollTo(self._concepts.index(row, 0), at_top)
        if self._sees_selected and self.currentIndex().isValid():
            self.scrollTo(self.currentIndex())
        self._settled.start()

    def _restore(self) -> None:
        row = None if self._selected is None else self._concepts.row_of(self._selected)
        with QSignalBlocker(self.selectionModel()):
            if row is None:
                self.clearSelection()
            else:
                self.selectRow(row)
                self.scrollTo(self._concepts.index(row, 0))
        self.viewport().update()

    def _on_click(self, index: QModelIndex) -> None:
        if index.column() == SHOW:
            role = Qt.ItemDataRole.CheckStateRole
            shown = Qt.CheckState(index.data(role)) == Qt.CheckState.Checked
            turned = Qt.CheckState.Unchecked if shown else Qt.CheckState.Checked
            self._concepts.setData(index, turned, role)

    def _on_current(self, current: QModelIndex, _: QModelIndex) -> None:
        concept = self._concepts.concept_at(current.row())
        if concept is not None and concept != self._selected:
            self._selected = concept
            self.concept_selected.emit(concept)


def _named(column: int, order: Qt.SortOrder) -> tuple[str, bool]:
    return list(HEADERS)[column], order == Qt.SortOrder.DescendingOrder
