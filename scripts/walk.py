"""Walk through the explorer on real smears, check the numbers on screen, leave pictures.

``python scripts/walk.py IMAGE IMAGE... --catalogue DIR -o DIR``, under a display. The
catalogue is shown in the atlas, whichever SAE it is of; its labels are not laid over the
concepts of another one.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtWidgets import QApplication
from screenshots import WINDOW, take, until, wait

from napari_cytosae.core.class_labels import describe_classes, load_all
from napari_cytosae.core.concepts import ranking
from napari_cytosae.core.groups import compare_groups
from napari_cytosae.widgets.concept_model import HEADERS

KEYS = list(HEADERS)


def check(holds: bool, what: str) -> None:
    """Say what was checked, or stop."""
    if not holds:
        raise AssertionError(what)
    print("ok:", what)


class Walk:
    """The steps, in order; each leaves the dock as the next one finds it."""

    def __init__(self, images: list[Path], catalogue: Path, folder: Path) -> None:
        self.images, self.catalogue, self.folder = images, catalogue, folder
        self.viewer = napari.Viewer(title="napari-cytosae", show=False)
        self.viewer.show()
        _, self.dock = self.viewer.window.add_plugin_dock_widget(
            "napari-cytosae", "CytoSAE"
        )
        self.session, self.panel = self.dock.session, self.dock.concepts_panel
        wait(500)
        self.viewer.window.resize(*WINDOW)

    def run(self) -> None:
        """Do everything."""
        for image in self.images:
            self.encode(image)
        self.rank()
        self.gallery()
        self.inspector()
        self.heatmap()
        self.atlas()
        self.viewer.close()
        QApplication.processEvents()

    def take(self, name: str, window: Any = None) -> None:
        """Save the viewer's window, or another one."""
        path = self.folder / f"{name}.png"
        if window is None:
            take(self.viewer, path)
            return
        wait(1000)
        window.grab().save(str(path))
        print(path)

    def encode(self, path: Path) -> None:
        """Open an image, find white and red cells, encode them."""
        session, dock = self.session, self.dock
        (layer,) = self.viewer.open(path, plugin="napari")
        dock.cells.look_at(layer)
        until(lambda: session.image is not None and session.image.name == path.name, "it")
        session.type_pixel_size(0.1)
        wanted = replace(session.settings, kinds=("wbc", "rbc", "platelet"))
        dock.cells_panel.settings_changed.emit(wanted)
        dock.cells_panel.segment_clicked.emit()
        until(lambda: session.cells is not None and not dock.desk.busy, "cells")
        dock.cells_panel.encode_clicked.emit()
        until(lambda: session.encoded is not None and not dock.desk.busy, "activations")
        until(lambda: self.panel.model.rowCount(), "concepts")
        check(
            dock.layers.outlines.layer() is not None,
            f"{path.name}: {len(session.cells)} cells are outlined and encoded",
        )

    def rank(self) -> None:
        """The table's numbers are those of the ranking."""
        session, model = self.session, self.panel.model
        model.set_keep("all")
        wait(3000)
        for scope in ("image", "wbc"):
            session.focus.set_scope(scope)
            wait(2000)
            table = session.cells.table
            ids = table.loc[table["kind"] == scope, "cell_id"] if scope == "wbc" else None
            expected = ranking(session.encoded.activations, session.rows(ids))
            check(model.rowCount() == len(expected), f"{scope}: {len(expected)} concepts")
            shown = [model.index(0, KEYS.index(key)).data() for key in KEYS]
            first = expected.iloc[0]
            here = float(shown[KEYS.index("here")])
            check(model.concept_at(0) == first["concept"], f"{scope}: the first one")
            check(abs(here - first["here"]) <= 0.006 * max(1, here), f"{scope}: {here}")
            self.take(f"rank_{scope}")
        model.set_keep("background")

    def gallery(self) -> None:
        """Captions are the strongest patches, over all images, the strongest first."""
        session, panel = self.session, self.panel
        concept = panel.model.concept_at(0)
        session.overlays.show(concept)
        session.focus.select_concept(concept)
        wait(4000)
        values = [
            encoded.activations.max[:, [concept]].toarray().ravel()
            for _, _, encoded in session.encoded_images().values()
        ]
        strongest = np.sort(np.concatenate(values))[::-1]
        gallery = panel.gallery.model()
        shown = [gallery.index(row).data() for row in range(gallery.rowCount())]
        expected = [f"{value:.2f}" for value in strongest if value > 0]
        check(shown == expected, f"gallery: {len(shown)} cells of {len(values)} images")
        self.take("gallery")
        here = session.image.sha256
        other = next(i for i, cell in enumerate(gallery._cells) if cell.key[0] != here)
        panel.gallery.setCurrentIndex(gallery.index(other))
        until(lambda: session.image is not None and session.image.sha256 != here, "other")
        until(lambda: session.focus.selection.cell_ids, "the cell")
        self.take("gallery_other_image")

    def inspector(self) -> None:
        """The patch under the cursor."""
        panel, session = self.panel, self.session
        panel.below.setCurrentIndex(1)
        box = session.encoded.boxes[0]
        y, x = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        self.dock.layers.hovered.emit(float(y), float(x))
        cell = int(session.encoded.cell_ids[0])
        until(lambda: f"Cell {cell}," in panel.below.inspector._text.text(), "the patch")
        self.take("patch")
        panel.below.setCurrentIndex(2)
        self.take("notes")
        panel.below.setCurrentIndex(0)

    def _windows(self) -> Any:
        controllers = self.dock._controllers
        return next(c for c in controllers if hasattr(c, "_tools"))._windows

    def heatmap(self) -> None:
        """Kinds of cells of all images against concepts."""
        self.panel.tools.chosen.emit("groups", "")
        heatmap = self._windows().heatmap
        until(heatmap.shown, "groups")
        means, kinds = [], []
        for cells, _, encoded in self.session.encoded_images().values():
            means.append(encoded.activations.mean.toarray())
            table = cells.table.set_index("cell_id")["kind"]
            kinds += table.loc[encoded.cell_ids].tolist()
        expected = compare_groups(_sparse(np.vstack(means)), kinds)
        check(heatmap.shown() == expected.concepts.tolist(), "heatmap: order of concepts")
        check(
            np.allclose(heatmap._groups.means, expected.means, rtol=1e-5),
            f"heatmap: {dict(zip(expected.names, expected.counts.tolist(), strict=True))}",
        )
        self.take("heatmap", heatmap)
        heatmap.grouping_chosen.emit("image")
        wait(1500)
        self.take("heatmap_images", heatmap)
        heatmap.close()

    def atlas(self) -> None:
        """These cells, then the catalogue."""
        panel, session = self.panel, self.session
        panel.tools.chosen.emit("atlas", "")
        atlas = None

        def drawn() -> bool:
            nonlocal atlas
            atlas = self._windows().atlas
            return atlas is not None and atlas._points is not None

        until(drawn, "the atlas")
        self.take("atlas_cells", atlas)
        found = load_all(self.catalogue)
        name, catalogue = next(iter(found.items()))
        session.exploration.set_catalogues(found, describe_classes(found))
        panel.tools.chosen.emit("atlas", "")
        until(lambda: atlas._points.title == name, "the catalogue")
        fires = np.flatnonzero((catalogue.sparsity > 0) & (catalogue.mean_acts > 0))
        check(
            np.array_equal(atlas._points.concepts, fires),
            f"atlas: {len(fires):,} of {name}",
        )
        self.take("atlas_catalogue", atlas)
        atlas.close()


def _sparse(dense: Any) -> Any:
    from scipy import sparse

    return sparse.csr_array(dense)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--catalogue", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    Walk(arguments.images, arguments.catalogue, arguments.output).run()


if __name__ == "__main__":
    main()
