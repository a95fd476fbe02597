"""How the swatch and the name of a concept are drawn and edited in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLineEdit, QStyledItemDelegate, QStyleOptionViewItem, QWidget

if TYPE_CHECKING:
    from qtpy.QtCore import QModelIndex, QPersistentModelIndex


class Swatch(QStyledItemDelegate):
    """Draws an overlay's colour as the tick; the check state is for screen readers."""

    def initStyleOption(
        self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        """No box beside the swatch."""
        super().initStyleOption(option, index)
        option.features &= ~QStyleOptionViewItem.ViewItemFeature.HasCheckIndicator
        option.decorationAlignment = Qt.AlignmentFlag.AlignCenter


class NameField(QStyledItemDelegate):
    """Takes a name when Return is pressed: Qt's own waits for the event loop.

    A ranking that comes in between would take the field and the name away.
    """

    def createEditor(
        self,
        parent: QWidget,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> QWidget:
        """Qt's own field."""
        editor = super().createEditor(parent, option, index)
        if isinstance(editor, QLineEdit):
            editor.returnPressed.connect(lambda: self.commitData.emit(editor))
        return editor
