"""The strip below the tabs: what is going on, how long it takes, and the way to stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QStyle,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_cytosae.core.types import RESEARCH_USE

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent

    from napari_cytosae.core.types import Progress


_LINES = 3
_BAR_PX = 6


class StatusStrip(QWidget):
    """Shows; never decides.

    Signals
    -------
    cancel_clicked
    """

    cancel_clicked = Signal()

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._details = ""
        self._icon = QLabel()
        self._icon.hide()
        self._text = QElidingLabel()
        # What Qt keeps free beside the text, or the dots would be on a line of their own.
        self._text.setEllipsesWidth(self._text.fontMetrics().horizontalAdvance("0") * 2)
        self._text.setWordWrap(True)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self._text.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(_BAR_PX)
        self._cancel = QPushButton("Cancel")
        self._cancel.setToolTip("Stop what is running; whole cells that are done are kept")
        self._cancel.clicked.connect(self.cancel_clicked)
        self._more = QPushButton("Details")
        self._more.setToolTip("Show the whole error, to copy it into a report")
        self._more.clicked.connect(self._show_details)
        research = QLabel(RESEARCH_USE)
        research.setWordWrap(True)

        line = QHBoxLayout()
        line.addWidget(self._icon)
        line.addWidget(self._text, 1)
        line.addWidget(self._more)
        line.addWidget(self._cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 2, 6, 4)
        layout.setSpacing(2)
        layout.addLayout(line)
        layout.addWidget(self._bar)
        layout.addWidget(research)
        policy = self._bar.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self._bar.setSizePolicy(policy)
        self.show_message("")

    def showEvent(self, event: QShowEvent) -> None:
        """Make room for the text in the font that the theme has set by now.

        The strip must not move when text comes and goes; longer text is in the tooltip.
        """
        super().showEvent(event)
        # Lines of text take more than their fonts' spacing says.
        size = self._text.fontMetrics().size(0, "\n".join("g" * _LINES))
        self._text.setFixedHeight(size.height() + 2)

    @property
    def text(self) -> str:
        """What the strip says."""
        return self._text.text()

    @property
    def is_busy(self) -> bool:
        """Whether it shows a running job."""
        return not self._cancel.isHidden()

    def show_message(self, text: str) -> None:
        """Say something; nothing runs."""
        self._show(text, busy=False)

    def show_error(self, text: str, details: str = "") -> None:
        """Say what went wrong; `details` are one click away."""
        self._show(text, busy=False, details=details)
        style = self.style()
        if style is not None:
            size = self._text.fontMetrics().lineSpacing()
            icon = style.standardIcon(QStyle.StandardPixmap.SP_MessageBoxWarning)
            self._icon.setPixmap(icon.pixmap(size, size))
        self._icon.show()

    def show_progress(self, progress: Progress, seconds_left: float | None) -> None:
        """Say how far a job is."""
        self._show(describe_progress(progress, seconds_left), busy=True)
        self._bar.setRange(0, progress.total)
        self._bar.setValue(progress.done)

    def show_cancelling(self) -> None:
        """Say that the job stops after the step it is in."""
        self._show("Stopping after this step ...", busy=True)
        self._cancel.setEnabled(False)

    def _show(self, text: str, *, busy: bool, details: str = "") -> None:
        self._icon.hide()
        self._text.setText(text)
        self._text.setToolTip(text)
        self._details = details
        self._more.setVisible(bool(details))
        self._bar.setVisible(busy)
        self._cancel.setVisible(busy)
        self._cancel.setEnabled(busy)

    def _show_details(self) -> None:
        box = QMessageBox(self)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setWindowTitle("CytoSAE")
        box.setText(self.text)
        box.setDetailedText(self._details)
        box.open()


def describe_progress(progress: Progress, seconds_left: float | None) -> str:
    """E.g. ``Encoding 14 of 23 cells, 5 s left``."""
    text = progress.stage
    if progress.total > 0:
        text += f" {progress.done:,} of {progress.total:,} {progress.unit}"
    else:
        text += " ..."
    if seconds_left is not None:
        text += f", {describe_duration(seconds_left)} left"
    return text


def describe_duration(seconds: float) -> str:
    """E.g. ``5 s``, ``2 min 10 s``, ``1 h 5 min``."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
