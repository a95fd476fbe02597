"""Take the README's pictures from the real program on the built-in smear.

``python scripts/screenshots.py docs/images [IMAGE]``, under a display; with an IMAGE, of
that smear instead. Every step is done by the dock's own buttons.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication

from napari_cytosae.core.types import CELL_KINDS
from napari_cytosae.demo import telling_concepts

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget

    from napari_cytosae.widgets.main_widget import CytoSAEWidget

WINDOW = (1366, 768)
PATIENCE_MS = 600_000
"""Of a machine that does other things as well."""


def wait(milliseconds: int) -> None:
    """Let the window live for a while."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def until(holds: Callable[[], Any], what: str) -> Any:
    """Wait until something holds; what it is."""
    for _ in range(PATIENCE_MS // 100):
        if found := holds():
            return found
        wait(100)
    raise TimeoutError(f"waited in vain for {what}")


def take(viewer: napari.Viewer, path: Path) -> None:
    """Save the window as it is on the screen."""
    wait(1000)
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)
    print(path)


def take_windows(dock: CytoSAEWidget, folder: Path) -> None:
    """The windows that *More* opens, over cells of all kinds."""
    session = dock.session
    session.set_settings(replace(session.settings, kinds=CELL_KINDS))
    dock.cells_panel.segment_clicked.emit()
    until(lambda: session.encoded is None and session.cells is not None, "cells")
    until(lambda: not dock.desk.busy, "cells")
    dock.cells_panel.encode_clicked.emit()
    until(lambda: session.encoded is not None and session.encoded.complete, "all cells")
    until(lambda: not dock.desk.busy, "all cells")
    tools = dock.concepts_panel.tools
    for tool, title in (("groups", "Groups and concepts"), ("atlas", "Latent atlas")):
        tools.chosen.emit(tool, "")
        window = until(lambda title=title: _window(title), title)
        wait(1500)
        window.grab().save(str(folder / f"{tool}.png"))
        print(folder / f"{tool}.png")
        window.close()


def _window(title: str) -> QWidget | None:
    shown = (each for each in QApplication.topLevelWidgets() if each.isVisible())
    return next((each for each in shown if title in each.windowTitle()), None)


def take_patient(viewer: napari.Viewer, dock: CytoSAEWidget, folder: Path) -> None:
    """What the built-in head says of a drawn patient, and why."""
    dock.session.overlays.forget()
    viewer.layers.clear()
    dock.go_to_step("patient")
    dock.patient_panel.sample_clicked.emit()
    until(lambda: dock.patients.patients, "patients")
    dock.patient_panel.predict_clicked.emit()
    until(lambda: dock.patients.reading is not None, "a prediction")
    take(viewer, folder / "patient.png")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("image", type=Path, nargs="?")
    parser.add_argument("--theme", default="dark")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)

    viewer = napari.Viewer(title="napari-cytosae", show=False)
    viewer.theme = arguments.theme
    viewer.show()
    _, dock = viewer.window.add_plugin_dock_widget("napari-cytosae", "CytoSAE")
    session = dock.session
    wait(500)
    viewer.window.resize(*WINDOW)
    take(viewer, folder / "start.png")
    if arguments.image is None:
        dock.cells_panel.sample_clicked.emit()
    else:
        viewer.open(arguments.image)
    until(lambda: session.image is not None, "the image")
    dock.cells_panel.segment_clicked.emit()
    until(lambda: session.cells is not None, "cells")
    take(viewer, folder / "cells.png")
    dock.cells_panel.encode_clicked.emit()
    until(lambda: dock.concepts_panel.model.rowCount(), "concepts")
    until(lambda: session.encoded.complete, "all cells")
    shown = telling_concepts(session.models, session.cells, session.encoded)[:2]
    for concept in shown:
        session.overlays.show(concept)
    session.focus.select_concept(shown[0])
    wait(3000)
    take(viewer, folder / "concepts.png")
    ids = session.encoded.cell_ids
    session.focus.select_cells([int(ids[len(ids) // 2])])
    session.focus.set_scope("cells")
    wait(2000)
    take(viewer, folder / "cell.png")
    take_windows(dock, folder)
    dock.go_to_step("models")
    take(viewer, folder / "models.png")
    with tempfile.TemporaryDirectory() as results:
        dock.concepts_panel.export_clicked.emit(results)
        until(lambda: list(Path(results).rglob("concepts.csv")), "tables")
        wait(1000)
    if arguments.image is None:
        take_patient(viewer, dock, folder)
    viewer.close()
    QApplication.processEvents()


if __name__ == "__main__":
    main()
