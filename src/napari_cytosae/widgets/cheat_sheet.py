"""What keys and clicks do in step 3."""

from __future__ import annotations

from qtpy.QtWidgets import QToolButton, QToolTip, QWidget

HELP = """<table cellspacing="4">
<tr><td><b>Click a cell</b></td><td>rank its concepts</td></tr>
<tr><td><b>Click a square</b></td><td>in the table: show or hide the overlay</td></tr>
<tr><td><b>Shift+click</b></td><td>rank the concepts of that patch</td></tr>
<tr><td><b>Up, Down</b></td><td>next concept</td></tr>
<tr><td><b>Left, Right</b></td><td>next cell of the gallery</td></tr>
<tr><td><b>Space</b></td><td>show or hide the overlay</td></tr>
<tr><td><b>1 to 4</b></td><td>show it in cyan, yellow, lime, magenta</td></tr>
<tr><td><b>N, S</b></td><td>name the concept, star it</td></tr>
<tr><td><b>A, R</b></td><td>accept or reject the cell for the concept</td></tr>
<tr><td><b>U</b></td><td>neither accept nor reject it any more</td></tr>
<tr><td><b>Ctrl+click</b></td><td>pick cells, of any image, for <i>like these</i></td></tr>
<tr><td><b>Right click</b></td><td>on the table's header: more columns</td></tr>
<tr><td><b>?</b></td><td>this list</td></tr>
</table>
<p>Keys work while the focus is in the dock, and in no field that is typed in.</p>"""


class CheatSheet(QToolButton):
    """A button that shows the list, and has it as its tooltip."""

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setText("?")
        self.setToolTip(HELP)
        self.clicked.connect(self.unfold)

    def unfold(self) -> None:
        """Show the list below the button."""
        QToolTip.showText(self.mapToGlobal(self.rect().bottomLeft()), HELP)
