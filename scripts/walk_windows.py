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
    """These cells, then the catalogue."""
    panel, session = walk.panel, walk.session
    panel.tools.chosen.emit("atlas", "")
    atlas = None

    def drawn() -> bool:
        nonlocal atlas
        atlas = _windows(walk).atlas
        return atlas is not None and atlas._points is not None

    until(drawn, "the atlas")
    walk.take("atlas_cells", atlas)
    found = load_all(walk.catalogue)
    name, catalogue = next(iter(found.items()))
    session.exploration.set_catalogues(found, describe_classes(found))
    panel.tools.chosen.emit("atlas", "")
    until(lambda: atlas._points.title == name, "the catalogue")
    fires = np.flatnonzero((catalogue.sparsity > 0) & (catalogue.mean_acts > 0))
    check(
        np.array_equal(atlas._points.concepts, fires),
        f"atlas: {len(fires):,} of {name}",
    )
    walk.take("atlas_catalogue", atlas)
    atlas.close()
