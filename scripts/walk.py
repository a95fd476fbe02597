"""Walk through the explorer on real smears, check the numbers on screen, leave pictures.

``python scripts/walk.py IMAGE IMAGE... --catalogue DIR -o DIR [--theme light]``, under a
display. The catalogue is the published one, of another SAE than the one loaded. What leaves
the dock is walked by `walk_files.py`, the windows beside it by `walk_windows.py`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from screenshots import WINDOW, take, until, wait
from walk_files import check, choose_source, walk_files
from walk_windows import walk_atlas, walk_heatmap, walk_published, walk_rating

from napari_cytosae.core.concepts import Annotation, ranking
from napari_cytosae.core.enrichment import enriched, likeness
from napari_cytosae.widgets.concept_model import HEADERS

KEYS = list(HEADERS)
DESCENDING = Qt.SortOrder.DescendingOrder


class Walk:
    """The steps, in order; each leaves the dock as the next one finds it."""

    def __init__(
        self, images: list[Path], catalogue: Path, folder: Path, theme: str
    ) -> None:
        self.images, self.catalogue, self.folder = images, catalogue, folder
        self.viewer = napari.Viewer(title="napari-cytosae", show=False)
        self.viewer.theme = theme
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
        self.find()
        self.gallery()
        self.examples()
        self.review()
        self.inspector()
        walk_heatmap(self)
        walk_rating(self)
        walk_files(self)
        walk_atlas(self)
        walk_published(self)
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
        dock.image.look_at(layer)
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
        for scope in ("image", "wbc"):
            session.focus.set_scope(scope)
            table = session.cells.table
            ids = table.loc[table["kind"] == scope, "cell_id"] if scope == "wbc" else None
            expected = ranking(session.encoded.activations, session.rows(ids))
            count = len(expected)
            until(lambda n=count: model.rowCount() == n, f"{scope}: its {count} concepts")
            until(lambda: len(self._where()) > 10, "where concepts fire")
            shown = [model.index(0, KEYS.index(key)).data() for key in KEYS]
            first = expected.iloc[0]
            here = float(shown[KEYS.index("here")])
            check(model.concept_at(0) == first["concept"], f"{scope}: the first one")
            check(abs(here - first["here"]) <= 0.006 * max(1, here), f"{scope}: {here}")
            self.take(f"rank_{scope}")
        model.set_keep("background")
        session.focus.set_scope("image")
        wait(3000)

    def _where(self) -> list[str]:
        model, column = self.panel.model, KEYS.index("where")
        shown = [model.index(row, column).data() for row in range(model.rowCount())]
        return [text for text in shown if text]

    def find(self) -> None:
        """Names are found, also with a typing error; columns sort."""
        model, names = self.panel.model, self.session.naming
        for text in ("white", "whiet", "white"):
            self.panel.search.field.setText(text)
            wait(500)
            listed = [model.concept_at(row) for row in range(model.rowCount())]
            found = all("white" in names.name_of(concept) for concept in listed)
            check(bool(listed) and found, f"search {text}: {len(listed)} concepts")
        self.panel.table.sortByColumn(KEYS.index("specificity"), DESCENDING)
        shown = [model.index(row, KEYS.index("specificity")).data() for row in range(5)]
        values = [float(text) for text in shown if text]
        check(values == sorted(values, reverse=True), f"sorted by specificity: {values}")
        self.take("search")
        self.concept = model.concept_at(0)
        self.panel.search.field.setText("")
        wait(500)

    def gallery(self) -> None:
        """Captions are the strongest patches, over all images, the strongest first."""
        session, panel = self.session, self.panel
        concept = self.concept
        session.overlays.show(concept)
        session.focus.select_concept(concept)
        until(lambda: f"drive {concept}" in panel.below._caption.text(), "cells")
        wait(500)
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
        seen = [layer for layer in self.dock.layers.images() if layer.visible]
        check(seen[-1] is self.dock.layers.source, f"{seen[-1].name} is seen, no other")
        self.take("gallery_other_image")

    def examples(self) -> None:
        """Cells like the two that drive the concept most."""
        session, panel = self.session, self.panel
        ids = session.encoded.cell_ids
        strongest = session.encoded.activations.max[:, [self.concept]].toarray().ravel()
        chosen = [int(ids[row]) for row in np.argsort(-strongest)[:2]]
        session.focus.select_cells(chosen)
        panel.scope_chosen.emit("like")
        until(lambda: panel.gallery.model().rowCount() > 2, "cells like these")
        until(lambda: "Like" in panel.below._caption.text(), "cells like these")
        mean = _sparse(
            np.vstack([encoded.activations.mean.toarray() for encoded in self._in_order()])
        )
        rows = session.rows(chosen)
        score = np.delete(likeness(mean, rows, enriched(mean, rows)), rows)
        panel.model.set_keep("all")
        shared = list(enriched(mean, rows, limit=mean.shape[1]))
        listed = range(len(shared))
        until(
            lambda: [panel.model.concept_at(row) for row in listed] == shared,
            "the table in the order of what the examples share",
        )
        check(True, f"like these: {len(shared)} shared concepts, {shared[0]} first")
        wait(1500)
        gallery = panel.gallery.model()
        shown = [gallery.index(row).data() for row in range(gallery.rowCount())]
        expected = [f"{value:.2f}" for value in np.sort(score)[::-1]]
        check(shown[:2] == ["example"] * 2, "examples come first")
        check(
            shown[2:] == expected, f"{len(expected)} others by likeness, {expected[0]} on"
        )
        self.take("like_these")

    def _in_order(self) -> list[Any]:
        """Encoded cells as the gallery counts them: of this image, then of the others."""
        session = self.session
        others = session.encoded_images()
        others.pop(session.image.sha256)
        return [session.encoded, *(encoded for _, _, encoded in others.values())]

    def review(self) -> None:
        """Accept and reject with the keys."""
        session, panel = self.session, self.panel
        panel.model.set_keep("background")
        panel.scope_chosen.emit("image")
        session.focus.select_concept(self.concept)
        choose_source(panel, "image")
        until(lambda: "drive" in panel.below._caption.text(), "the cells")
        wait(1500)
        gallery = panel.gallery
        gallery.setCurrentIndex(gallery.model().index(0))
        cells = [gallery.model().cell_at(row)[1] for row in range(2)]
        QTest.keyClick(gallery, "a")
        wait(300)
        QTest.keyClick(panel.table, "r")
        wait(300)
        said = session.review.here()
        wanted = [(self.concept, cells[0], "accept"), (self.concept, cells[1], "reject")]
        check(said == sorted(wanted), f"review list: {said}")
        check("1 accepted, 1 rejected" in panel.below._caption.text(), "and it is said")
        self.take("review")
        choose_source(panel, "all")

    def inspector(self) -> None:
        """The patch under the cursor."""
        panel, session = self.panel, self.session
        panel.below.setCurrentIndex(1)
        cell = int(session.encoded.cell_ids[0])
        # The middle of a crop may lie beside a cell that is bent.
        inside = np.argwhere(session.cells.labels == cell)
        y, x = inside[len(inside) // 2]
        self.dock.layers.hovered.emit(float(y), float(x))
        until(lambda: f"Cell {cell}," in panel.below.inspector._text.text(), "the patch")
        self.take("patch")
        panel.below.setCurrentIndex(2)
        words = Annotation("granulated", ("granules: azurophilic",), "Walked by.", True)
        session.naming.annotate(self.concept, words)
        layer = f"{self.concept} granulated"
        until(lambda: layer in self.viewer.layers, "the name on the layer")
        row = panel.model.row_of(self.concept)
        check("granulated" in panel.model.index(row, KEYS.index("name")).data(), layer)
        self.take("notes")
        panel.below.setCurrentIndex(0)


def _sparse(dense: Any) -> Any:
    from scipy import sparse

    return sparse.csr_array(dense)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--catalogue", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--theme", default="dark")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    walk = Walk(arguments.images, arguments.catalogue, arguments.output, arguments.theme)
    walk.run()


if __name__ == "__main__":
    main()
