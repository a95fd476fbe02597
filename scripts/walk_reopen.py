"""Open a saved session in a viewer of its own process: ``walk_reopen.py SESSION PICTURE``.

Prints what a session is made of, as `walk_files.py` compares it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from qtpy.QtWidgets import QApplication
from screenshots import WINDOW, take, until, wait

if TYPE_CHECKING:
    from napari_cytosae.session import Session


def content(session: Session) -> dict[str, Any]:
    """Everything that a session must bring back, as JSON."""
    names = session.naming.names
    images = {}
    for sha256, found in session.found_images().items():
        assert found.cells is not None
        assert found.encoded is not None
        images[sha256] = {
            "settings": asdict(found.settings),
            "pixel_size": asdict(found.pixel_size),
            "verdicts": found.review_list(),
            "labels": _digest(found.cells.labels),
            "nuclei": _digest(found.cells.nuclei),
            "table": found.cells.table.round(6).to_csv(),
            "activations": _digest(found.encoded.activations.max.toarray()),
            "tokens": _digest(found.encoded.tokens),
        }
    return {
        "in front": None if session.image is None else session.image.sha256,
        "images": images,
        "selection": asdict(session.focus.selection),
        "scope": session.focus.scope,
        "overlays": [o and asdict(o) for o in session.overlays.slots],
        "names": {}
        if names is None
        else {c: asdict(a) for c, a in names.annotations().items()},
        "models": asdict(session.choice),
    }


def _digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def main() -> None:
    """Command line."""
    folder, picture = sys.argv[1:]
    viewer = napari.Viewer(title="napari-cytosae", show=True)
    _, dock = viewer.window.add_plugin_dock_widget("napari-cytosae", "CytoSAE")
    wait(500)
    viewer.window.resize(*WINDOW)
    dock.go_to_step("concepts")
    dock.concepts_panel.tools.chosen.emit("open", folder)
    until(lambda: dock.session.encoded is not None and not dock.desk.busy, "the session")
    until(lambda: dock.concepts_panel.model.rowCount(), "the table")
    wait(3000)
    take(viewer, Path(picture))
    print(json.dumps(content(dock.session)))
    viewer.close()
    QApplication.processEvents()


if __name__ == "__main__":
    main()
