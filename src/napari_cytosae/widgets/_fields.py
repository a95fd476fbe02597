"""Small fields of the panels, as wide as the dock lets them be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QLabel,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QPaintEvent


class NarrowCombo(QComboBox):
    """As narrow as the dock wants it: what does not fit ends in dots.

    The tool tip says what it means, and the whole of what is chosen.
    """

    def __init__(self, meaning: str, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._meaning = meaning
        self.setMinimumWidth(80)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setToolTip(meaning)
        self.currentTextChanged.connect(self._say_whole)

    def offer(self, items: Sequence[tuple[str, Any]], current: Any) -> None:
        """List names with their keys, one of them chosen; nobody is told."""
        keys = [key for _, key in items]
        with QSignalBlocker(self):
            self.clear()
            for name, key in items:
                self.addItem(name, key)
            self.setCurrentIndex(keys.index(current) if current in keys else -1)
        self._say_whole(self.currentText())

    def _say_whole(self, text: str) -> None:
        self.setToolTip(": ".join(filter(None, (self._meaning, text))))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint as Qt does, with dots where it cuts."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        painter = QStylePainter(self)
        field = painter.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox,
            option,
            QStyle.SubControl.SC_ComboBoxEditField,
            self,
        )
        option.currentText = self.fontMetrics().elidedText(
            option.currentText, Qt.TextElideMode.ElideRight, field.width() - 4
        )
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)


def micrometres(low: float, high: float, decimals: int) -> QDoubleSpinBox:
    """A length from `low` to `high` um."""
    box = QDoubleSpinBox()
    box.setRange(low, high)
    box.setDecimals(decimals)
    box.setSingleStep(10 ** (1 - decimals))
    box.setSuffix(" \N{MICRO SIGN}m")
    box.setKeyboardTracking(False)
    return box


def choice_of_layer(tip: str) -> QComboBox:
    """An empty list of layers."""
    combo = QComboBox()
    combo.setToolTip(tip)
    # A long layer name must not make the dock wider.
    combo.setSizeAdjustPolicy(
        QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    )
    combo.setMinimumContentsLength(4)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return combo


def wrapped_text() -> QLabel:
    """A text over as many lines as it needs, which can be selected."""
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    # A path without a space to break at must not make the dock wider.
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


def fill(combo: QComboBox, meaning: str, names: Sequence[str], current: int) -> None:
    """List names of layers; the tool tip says what they mean, and the whole of a name."""
    with QSignalBlocker(combo):
        combo.clear()
        combo.addItems(list(names))
        combo.setCurrentIndex(current)
    # The whole of a name that is too long for the dock.
    combo.setToolTip(": ".join(filter(None, (meaning, combo.currentText()))))


def set_warning(label: QLabel, warn: bool) -> None:
    """Show a text as a warning, or as any other."""
    font = label.font()
    font.setBold(warn)
    label.setFont(font)
