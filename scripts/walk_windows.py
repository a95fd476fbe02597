"""Third part of `walk.py`: the windows beside the dock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from screenshots import until, wait
from walk_files import check

from napari_cytosae.core.class_labels import describe_classes, load_all
from napari_cytosae.core.groups import compare_groups

if TYPE_CHECKING:
    from walk import Walk


def _windows(walk: Walk) -> Any:
    controllers = walk.dock._controllers
    return next(c for c in controllers if hasattr(c, "_tools"))._windows


def walk_heatmap(walk: Walk) -> None:
    """Kinds of cells of all images against concepts."""
    walk.panel.tools.chosen.emit("groups", "")
    heatmap = _windows(walk).heatmap
    until(heatmap.shown, "groups")
    means, kinds = [], []
    for cells, _, encoded in walk.session.encoded_images().values():
        means.append(encoded.activations.mean.toarray())
        table = cells.table.set_index("cell_id")["kind"]
        kinds += table.loc[encoded.cell_ids].tolist()
    expected = compare_groups(sparse.csr_array(np.vstack(means)), kinds)
    check(heatmap.shown() == expected.concepts.tolist(), "heatmap: order of concepts")
    check(
        np.allclose(heatmap._groups.means, expected.means, rtol=1e-5),
        f"heatmap: {dict(zip(expected.names, expected.counts.tolist(), strict=True))}",
    )
    walk.take("heatmap", heatmap)
    heatmap.grouping_chosen.emit("image")
    wait(1500)
    walk.take("heatmap_images", heatmap)
    heatmap.close()


def walk_rating(walk: Walk) -> None:
    """Two raters, who agree on two of three concepts."""
    controller = next(c for c in walk.dock._controllers if hasattr(c, "show_agreement"))
    for rater, words in (("Ann", "abb"), ("Bo", "aab")):
        walk.panel.tools.chosen.emit("rate", "")
        dialog = controller.dialog
        dialog.rater.setText(rater)
        dialog.count.setValue(3)
        dialog.start.click()
        order = controller._order
        for number, concept in enumerate(order):
            until(lambda: controller.dialog.gallery.model().rowCount(), "cells")
            dialog.words.topLevelItem(0).setExpanded(True)
            dialog.own.setText(words[sorted(order).index(concept)])
            if (rater, number) == ("Ann", 1):
                walk.take("rating", dialog)
            dialog.next.click()
    walk.panel.tools.chosen.emit("agreement", "")
    until(lambda: controller.window and controller.window.isVisible(), "agreement")
    shown = [controller.window.pairs.item(0, c).text() for c in range(5)]
    # 2 of 3 agree; by chance 1/3 * 2/3 + 2/3 * 1/3 of them would.
    check(shown == ["Ann", "Bo", "3", "0.67", "0.4"], f"agreement: {shown}")
    walk.take("agreement", controller.window)
    controller.window.close()


def walk_atlas(walk: Walk) -> None:
    """All concepts of these cells at once."""
    walk.panel.tools.chosen.emit("atlas", "")
    until(lambda: _windows(walk).atlas is not None, "the atlas")
    atlas = _windows(walk).atlas
    until(lambda: atlas._points is not None, "the atlas")
    walk.take("atlas_cells", atlas)
    atlas.close()


def walk_published(walk: Walk) -> None:
    """The published statistics, which are of another SAE than the one loaded."""
    walk.panel.tools.chosen.emit("catalogue", str(walk.catalogue))
    browser = next(c for c in walk.dock._controllers if hasattr(c, "_browser"))._browser
    until(lambda: browser.window is not None, "the published catalogue")
    window = browser.window
    until(lambda: window.model.rowCount() > 0, "the published catalogue")
    found = load_all(walk.catalogue)
    name, catalogue = next(iter(found.items()))
    fires = np.flatnonzero(catalogue.sparsity > 0)
    check(window.model.rowCount() == len(fires), f"{len(fires):,} concepts are listed")
    window.search.field.setText("basophil")
    classes = describe_classes(found)
    hits = fires[classes["text"].iloc[fires].str.contains("basophil").to_numpy()]
    until(lambda: window.model.rowCount() == len(hits), "basophil")
    first = int(hits[np.argmax(catalogue.mean_acts[hits])])
    check(window.model.concept_at(0) == first, f"basophil: {len(hits)}, {first} first")
    window.table.selectRow(0)
    until(lambda: f"Concept {first}: basophil" in window.about, "its page")
    check(f"fires in {catalogue.sparsity[first]:.2%} of" in window.about, window.about)
    walk.take("published", window)
    window.atlas_clicked.emit()
    until(lambda: browser.atlas is not None, "its atlas")
    atlas = browser.atlas
    until(lambda: atlas._points is not None, "its atlas")
    check(np.array_equal(atlas._points.concepts, fires), f"atlas: {len(fires):,} of {name}")
    for flag, where in catalogue.flags.items():
        has = np.array([flag in flags for flags in atlas._points.flags])
        check(np.array_equal(has, where[fires]), f"atlas: {has.sum():,} {flag}")
    walk.take("atlas_published", atlas)
    atlas.close()
    window.close()
